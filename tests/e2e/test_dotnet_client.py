"""The assertions of the .NET client's own acceptance tests, one by one.

One of them is not kept: see `test_deleting_examples_without_a_subject_deletes_all`.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from sending import (
    API,
    DETECT,
    FACES,
    NO_FACE,
    ONE_FACE,
    OTHER_FACE,
    RECOGNIZE,
    SUBJECTS,
    TWO_FACES,
    VERIFY,
    add,
    form,
    refused,
    send,
    text,
)
from servers import Server

pytestmark = pytest.mark.e2e

NIL = UUID(int=0)
BOTH_WAYS = pytest.mark.parametrize("sent_as", [form, text], ids=["multipart", "base64"])

# The options of every one of its tests; `detector` is no plugin and has to be ignored.
OPTIONS = {
    "limit": "0",
    "det_prob_threshold": "0.85",
    "face_plugins": "landmarks,gender,age,detector,calculator",
    "status": "True",
}


# Pictures


@BOTH_WAYS
def test_it_detects_with_all_its_options(detection: httpx.Client, sent_as: Any) -> None:
    answer = detection.post(DETECT, params=OPTIONS, **sent_as(file=ONE_FACE))

    assert answer.status_code == 200, answer.text
    (face,) = answer.json()["result"]
    assert set(face) == {"box", "landmarks", "gender", "age", "embedding", "execution_time"}
    ran = {"detector", "calculator", "gender", "age"}
    assert set(answer.json()["plugins_versions"]) == ran


@BOTH_WAYS
def test_it_recognizes_with_all_its_options(recognition: httpx.Client, sent_as: Any) -> None:
    add(recognition, "Ada")

    answer = recognition.post(RECOGNIZE, params=OPTIONS, **sent_as(file=ONE_FACE))

    assert answer.status_code == 200, answer.text
    (face,) = answer.json()["result"]
    assert face["subjects"][0]["subject"] == "Ada"
    known = {"box", "landmarks", "gender", "age", "embedding", "execution_time", "subjects"}
    assert set(face) == known


@BOTH_WAYS
def test_it_verifies_an_example_of_a_subject_it_created(
    recognition: httpx.Client, sent_as: Any
) -> None:
    assert recognition.post(SUBJECTS, json={"subject": "Ada"}).status_code == 201
    image_id = add(recognition, "Ada")

    same = recognition.post(f"{FACES}/{image_id}/verify", params=OPTIONS, **sent_as(file=ONE_FACE))

    (face,) = same.json()["result"]
    assert face["similarity"] > 0.9
    assert recognition.delete(f"{SUBJECTS}/Ada").json() == {"subject": "Ada"}


@BOTH_WAYS
def test_it_verifies_two_pictures(verification: httpx.Client, sent_as: Any) -> None:
    pictures = sent_as(source_image=ONE_FACE, target_image=ONE_FACE)

    answer = verification.post(VERIFY, params=OPTIONS, **pictures)

    (one,) = answer.json()["result"]
    assert set(one) == {"source_image_face", "face_matches", "plugins_versions"}
    (match,) = one["face_matches"]
    assert match["similarity"] > 0.9


@BOTH_WAYS
def test_it_is_told_that_a_wall_has_no_face(
    detection: httpx.Client, recognition: httpx.Client, sent_as: Any
) -> None:
    for client, call in ((detection, DETECT), (recognition, RECOGNIZE)):
        answer = client.post(call, params=OPTIONS, **sent_as(file=NO_FACE))
        assert refused(answer) == (400, 28)
    added = recognition.post(FACES, params={"subject": "Wall"}, **sent_as(file=NO_FACE))
    assert refused(added) == (400, 28)
    assert recognition.get(SUBJECTS).json() == {"subjects": []}


@BOTH_WAYS
def test_it_may_not_verify_with_two_source_faces(verification: httpx.Client, sent_as: Any) -> None:
    pictures = sent_as(source_image=TWO_FACES, target_image=ONE_FACE)
    assert refused(verification.post(VERIFY, params=OPTIONS, **pictures)) == (400, 31)


@BOTH_WAYS
def test_it_without_an_image_id_verifies_nothing(recognition: httpx.Client, sent_as: Any) -> None:
    answer = recognition.post(f"{FACES}/{NIL}/verify", params=OPTIONS, **sent_as(file=TWO_FACES))
    assert refused(answer) == (404, 44)


def test_it_sends_base64_that_is_no_picture(recognition: httpx.Client) -> None:
    answer = recognition.post(FACES, params={"subject": "Ada"}, json={"file": "Base64TestString"})
    assert refused(answer) == (400, 21)


# Examples


def test_it_finds_an_added_example_in_the_list(recognition: httpx.Client) -> None:
    params = {"subject": "Test Subject", "det_prob_threshold": "0.81"}
    added = recognition.post(FACES, params=params, **form(file=ONE_FACE)).json()

    listed = recognition.get(FACES, params={"subject": "Test Subject"}).json()

    assert listed["faces"] == [added]


def test_it_lists_all_with_page_and_size_zero(recognition: httpx.Client) -> None:
    for _ in range(3):
        add(recognition, "Ada")
    params = {"page": "0", "size": "0", "subject": "Ada"}
    assert len(recognition.get(FACES, params=params).json()["faces"]) == 3


def test_it_lists_an_unknown_subject(recognition: httpx.Client) -> None:
    add(recognition, "Somebody else")
    answer = recognition.get(FACES, params={"page": "1", "size": "1", "subject": "Nobody"})
    totals = {"total_pages": 0, "total_elements": 0}
    assert answer.json() == {"faces": [], "page_number": 1, "page_size": 1, **totals}


def test_it_deletes_the_examples_of_a_subject(recognition: httpx.Client) -> None:
    for name in ("Ada", "Ada", "Ada", "Bob"):
        add(recognition, name)
    assert recognition.delete(FACES, params={"subject": "Ada"}).json() == {"deleted": 3}
    assert recognition.get(SUBJECTS).json() == {"subjects": ["Bob"]}


def test_deleting_examples_without_a_subject_deletes_all(recognition: httpx.Client) -> None:
    """The client expects a failure.

    CompreFace refuses this call, against its own documentation ("if this parameter is absent, all
    faces will be removed"), which is what holds here.
    """
    add(recognition, "Ada")
    add(recognition, "Bob", OTHER_FACE)
    assert recognition.delete(FACES).json() == {"deleted": 2}
    assert recognition.get(SUBJECTS).json() == {"subjects": []}


def test_it_deletes_one_example(recognition: httpx.Client) -> None:
    image_id = add(recognition, "Ada")
    deleted = recognition.delete(f"{FACES}/{image_id}")
    assert deleted.json() == {"image_id": image_id, "subject": "Ada"}
    assert refused(recognition.delete(f"{FACES}/{image_id}")) == (404, 44)


def test_it_deletes_several_examples(recognition: httpx.Client) -> None:
    ids = [add(recognition, "Ada") for _ in range(3)]
    deleted = recognition.post(f"{FACES}/delete", json=ids)
    assert deleted.json() == [{"image_id": one, "subject": "Ada"} for one in ids]


def test_it_deletes_a_list_it_forgot(recognition: httpx.Client) -> None:
    add(recognition, "Ada")
    headers = {"content-type": "application/json"}
    answer = recognition.post(f"{FACES}/delete", content=b"null", headers=headers)
    assert refused(answer) == (400, 26)
    assert recognition.get(FACES).json()["total_elements"] == 1


def test_it_downloads_the_very_bytes(recognition: httpx.Client, server: Server) -> None:
    image_id = add(recognition, "Ada", ONE_FACE)
    direct = f"{API}/static/{server.keys['recognition']}/images/{image_id}"
    assert send(server, "GET", direct, key="").content == ONE_FACE
    assert recognition.get(f"{FACES}/{image_id}/img").content == ONE_FACE


# Subjects


def test_it_lists_subjects_with_a_slash(recognition: httpx.Client) -> None:
    assert recognition.get(f"{SUBJECTS}/").json() == {"subjects": []}


def test_it_renames_with_a_bare_string(recognition: httpx.Client) -> None:
    recognition.post(SUBJECTS, json={"subject": "Old name"})
    answer = recognition.put(f"{SUBJECTS}/Old%20name", json="New name")
    assert answer.json() == {"updated": True}
    assert recognition.delete(f"{SUBJECTS}/New%20name").json() == {"subject": "New name"}


@pytest.mark.parametrize("body", ["", {"subject": ""}], ids=["bare", "object"])
def test_it_may_not_rename_to_nothing(recognition: httpx.Client, body: object) -> None:
    recognition.post(SUBJECTS, json={"subject": "Ada"})
    assert refused(recognition.put(f"{SUBJECTS}/Ada", json=body)) == (400, 26)
    assert recognition.get(SUBJECTS).json() == {"subjects": ["Ada"]}


@pytest.mark.parametrize("body", [b"null", b'{"subject":null}', b"{}"])
def test_it_may_not_add_a_subject_without_a_name(recognition: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    assert refused(recognition.post(SUBJECTS, content=body, headers=headers)) == (400, 26)


def test_it_deletes_an_unknown_subject(recognition: httpx.Client) -> None:
    assert refused(recognition.delete(f"{SUBJECTS}/Nobody")) == (404, 42)


def test_it_deletes_all_subjects_but_not_with_a_detection_key(
    recognition: httpx.Client, detection: httpx.Client
) -> None:
    add(recognition, "Ada")
    assert refused(detection.delete(SUBJECTS)) == (404, 10)
    assert recognition.delete(SUBJECTS).json() == {"deleted": 1}
