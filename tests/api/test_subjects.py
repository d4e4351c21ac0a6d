"""Subjects over HTTP: names of every kind in bodies and paths, and the danger of an empty one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

import tiny_models
from api.calls import RECOGNITION, Caller, failed
from knownface.app import App
from knownface.types import ServiceType

SUBJECTS = f"{RECOGNITION}/subjects"
NAMES = [
    "a/b",
    "ends with /",
    "/",
    "a;b=c",
    "back\\slash",
    "what?",
    "100%",
    "%2F",
    "a#b",
    "[x]",
    "a&b=c+d",
    " Ann ",
    "Zoë Ünal",
    "李小龙",
    "👩‍🚀",
    "...",
    "faces",
    "x" * 255,
]


def names(caller: Caller) -> list[str]:
    found: list[str] = caller.get(SUBJECTS).json()["subjects"]
    return found


def create(caller: Caller, *subjects: str) -> None:
    for name in subjects:
        assert caller.post(SUBJECTS, json={"subject": name}).status_code == 201


def in_path(name: str) -> str:
    return f"{SUBJECTS}/{quote(name, safe='')}"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_any_characters_can_be_addressed(recognition: Caller, name: str) -> None:
    create(recognition, name)
    assert names(recognition) == [name]
    renamed = recognition.put(in_path(name), json={"subject": f"{name[:200]}!"})
    assert renamed.json() == {"updated": True}
    answer = recognition.delete(in_path(f"{name[:200]}!"))
    assert answer.json() == {"subject": f"{name[:200]}!"}
    assert names(recognition) == []


@pytest.mark.parametrize("name", ["a/b", "a;b", "ends/"])
def test_an_encoded_slash_in_a_name_survives_a_trailing_one(recognition: Caller, name: str) -> None:
    create(recognition, name)
    assert recognition.delete(f"{in_path(name)}/").json() == {"subject": name}


def test_a_letter_that_need_not_be_encoded_may_be(recognition: Caller) -> None:
    create(recognition, "Ann")
    path = "/api/v1/%72ecognition/subject%73/%41nn"
    assert recognition.delete(path).json() == {"subject": "Ann"}


@pytest.mark.parametrize("path", [SUBJECTS, f"{SUBJECTS}/"])
def test_the_list_takes_an_optional_trailing_slash(recognition: Caller, path: str) -> None:
    create(recognition, "Ann")
    assert recognition.get(path).json() == {"subjects": ["Ann"]}
    assert recognition.post(path, json={"subject": "Bob"}).status_code == 201


@pytest.mark.parametrize(
    "path", [f"{SUBJECTS}/", f"{SUBJECTS}//", f"{SUBJECTS}/%20", f"{SUBJECTS}/?x=1"]
)
def test_a_deletion_without_a_name_deletes_nobody(recognition: Caller, path: str) -> None:
    create(recognition, "Ann")
    answer = recognition.delete(path)
    assert (answer.status_code, answer.json()["code"]) == (400, 26)
    assert names(recognition) == ["Ann"]


def test_a_deletion_without_a_name_needs_a_key_first(recognition: Caller) -> None:
    answer = recognition.client.delete(f"{SUBJECTS}/")
    assert (answer.status_code, answer.json()["code"]) == (400, 20)


@pytest.mark.parametrize("body", ['"New name"', '{"subject":"New name","api_endpoint":"x"}'])
def test_the_new_name_comes_in_an_object_or_bare(recognition: Caller, body: str) -> None:
    create(recognition, "Ann")
    answer = recognition.put(
        f"{SUBJECTS}/Ann", content=body, headers={"content-type": "application/json;charset=utf-8"}
    )
    assert answer.json() == {"updated": True}
    assert names(recognition) == ["New name"]


def test_a_rename_onto_another_subject_merges_them(recognition: Caller) -> None:
    image_id = recognition.enrol("Ann", 1)
    recognition.enrol("Bob", 2)
    assert recognition.put(f"{SUBJECTS}/Ann", json={"subject": "bob"}).json() == {"updated": True}
    assert names(recognition) == ["Bob"]
    listed = recognition.get(f"{RECOGNITION}/faces", params={"subject": "BOB"}).json()["faces"]
    assert {"image_id": image_id, "subject": "Bob"} in listed
    assert len(listed) == 2


def test_a_rename_onto_itself_changes_nothing_but_letter_case_may(recognition: Caller) -> None:
    create(recognition, "Ann")
    assert recognition.put(f"{SUBJECTS}/Ann", json={"subject": "Ann"}).json() == {"updated": False}
    assert recognition.put(f"{SUBJECTS}/ann", json={"subject": "ANN"}).json() == {"updated": True}
    assert names(recognition) == ["ANN"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_unknown_subject_is_named(recognition: Caller, method: str) -> None:
    answer = recognition(method, f"{SUBJECTS}/No%2Fone", json={"subject": "x"})
    assert answer.status_code == 404
    assert answer.json() == {"message": "Subject No/one not found", "code": 42}


def test_a_subject_exists_whatever_the_letter_case(recognition: Caller) -> None:
    create(recognition, "Straße")
    answer = recognition.post(SUBJECTS, json={"subject": "STRASSE"})
    assert answer.status_code == 400
    assert answer.json() == {"message": "Subject already exists", "code": 43}


@pytest.mark.parametrize(
    "subject", [None, "", "  ", "\t", "x" * 256, "a\nb", "nul\x00", 1, True, ["a"], {"a": 1}]
)
def test_a_name_that_cannot_be_one_is_refused(recognition: Caller, subject: Any) -> None:
    create(recognition, "Ann")
    for answer in (
        recognition.post(SUBJECTS, json={"subject": subject}),
        recognition.put(f"{SUBJECTS}/Ann", json={"subject": subject}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, 26)
    assert names(recognition) == ["Ann"]


def test_a_path_that_is_not_utf8_is_refused(recognition: Caller) -> None:
    answer = recognition.delete(f"{SUBJECTS}/%FF")
    assert (answer.status_code, answer.json()["code"]) == (400, 26)


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_no_browser_can_address_is_given_to_nobody(
    recognition: Caller, name: str
) -> None:
    create(recognition, "Ann")
    refused = [
        recognition.post(SUBJECTS, json={"subject": name}),
        recognition.put(f"{SUBJECTS}/Ann", json={"subject": name}),
        recognition.post(
            f"{RECOGNITION}/faces",
            params={"subject": name},
            files={"file": ("a.png", tiny_models.portrait(1))},
        ),
    ]
    assert [failed(one) for one in refused] == [(400, 26)] * 3
    assert "another name" in refused[0].json()["message"]
    assert names(recognition) == ["Ann"]


def test_such_a_name_that_is_stored_already_can_still_be_renamed_and_deleted(
    app: App, recognition: Caller
) -> None:
    service = app.accounts.authorize(recognition.key, ServiceType.RECOGNITION)
    with app.store.begin() as tx:
        for name in (".", ".."):
            tx.create_subject(service.id, name)
    assert recognition.put(f"{SUBJECTS}/%2E", json={"subject": "Ann"}).json() == {"updated": True}
    assert recognition.delete(f"{SUBJECTS}/%2E%2E").json() == {"subject": ".."}
    assert names(recognition) == ["Ann"]
