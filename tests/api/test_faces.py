"""Examples over HTTP: adding, listing, deleting, and the pictures behind them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from httpx2 import Response

import tiny_models
from api.calls import RECOGNITION, Caller, failed, new_caller
from knownface.app import App
from knownface.types import ServiceType

FACES = f"{RECOGNITION}/faces"
ANN = tiny_models.portrait(1)


def listed(caller: Caller, **query: Any) -> list[str]:
    answer = caller.get(FACES, params=query)
    assert answer.status_code == 200
    return [face["image_id"] for face in answer.json()["faces"]]


# Adding


@pytest.mark.parametrize("path", [FACES, f"{FACES}/"])
def test_the_subject_may_come_in_the_query_or_in_the_form(recognition: Caller, path: str) -> None:
    recognition.send(path, ANN, params={"subject": "Ann"})
    answer = recognition.send(path, ANN, data={"subject": "Zoë", "det_prob_threshold": "0.5"})
    assert answer.status_code == 201
    assert answer.json()["subject"] == "Zoë"


def test_with_a_json_body_the_subject_comes_in_the_query(recognition: Caller) -> None:
    assert recognition.send_json(FACES, ANN, params={"subject": "Ann"}).status_code == 201
    answer = recognition.post(FACES, json={"file": "eA==", "subject": "Ann"})
    assert answer.status_code == 400
    assert answer.json() == {"message": "Required parameter subject is missing", "code": 33}


def test_an_example_of_a_known_subject_joins_it_and_the_answer_echoes_the_request(
    recognition: Caller,
) -> None:
    recognition.enrol("Ann", 1)
    answer = recognition.send(FACES, ANN, params={"subject": "ANN"})
    assert answer.json()["subject"] == "ANN"
    assert recognition.get(f"{RECOGNITION}/subjects").json() == {"subjects": ["Ann"]}


def test_checks_come_in_the_order_of_comprefaces(recognition: Caller) -> None:
    other = {"other": ("a.png", ANN)}
    broken = {"file": ("a.png", b"broken")}
    wrong = "det_prob_threshold=2"
    assert failed(recognition.post(f"{FACES}?{wrong}", files=other)) == (400, 34)
    assert failed(recognition.post(f"{FACES}?{wrong}", files=broken)) == (400, 33)
    number = recognition.post(f"{FACES}?subject=%20&{wrong}", files=broken)
    assert failed(number) == (400, 26)
    assert "det_prob_threshold" in number.json()["message"]
    blank = recognition.post(f"{FACES}?subject=%20", files=broken)
    assert failed(blank) == (400, 26)
    assert "name" in blank.json()["message"]
    assert failed(recognition.post(f"{FACES}?subject=Ann", files=broken)) == (400, 21)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (tiny_models.blank(), (400, 28)),
        (tiny_models.group([1, 2]), (400, 31)),
        (b"", (400, 21)),
        (b"GIF89a", (400, 21)),
    ],
    ids=["no face", "two faces", "no bytes", "broken"],
)
@pytest.mark.parametrize("send", [Caller.send, Caller.send_json])
def test_a_picture_that_cannot_be_an_example_leaves_nothing_behind(
    recognition: Caller, picture: bytes, expected: tuple[int, int], send: Any
) -> None:
    answer = send(recognition, FACES, picture, params={"subject": "Ann"})
    if not picture and send is Caller.send_json:
        expected = (400, 5)
    assert failed(answer) == expected
    assert recognition.get(f"{RECOGNITION}/subjects").json() == {"subjects": []}


# Listing


@pytest.mark.parametrize("query", [{"size": "0"}, {"size": "abc", "page": "-1"}, {"size": ""}])
def test_a_wrong_page_or_size_is_the_default(recognition: Caller, query: dict[str, str]) -> None:
    ids = [recognition.enrol("Ann", 1) for _ in range(3)]
    page = recognition.get(FACES, params=query).json()
    assert [face["image_id"] for face in page["faces"]] == ids
    assert (page["page_number"], page["page_size"]) == (0, 20)


def test_a_page_beyond_the_end_is_empty_with_the_right_totals(recognition: Caller) -> None:
    recognition.enrol("Ann", 1)
    assert recognition.get(f"{FACES}?page=2147483647&size=9999").json() == {
        "faces": [],
        "page_number": 2147483647,
        "page_size": 2000,
        "total_pages": 1,
        "total_elements": 1,
    }


def test_an_unknown_subject_has_no_examples(recognition: Caller) -> None:
    recognition.enrol("Ann", 1)
    assert recognition.get(f"{FACES}?page=1&size=1&subject=Nobody").json() == {
        "faces": [],
        "page_number": 1,
        "page_size": 1,
        "total_pages": 0,
        "total_elements": 0,
    }


def test_subjects_are_found_whatever_the_letter_case_and_an_empty_one_means_all(
    recognition: Caller,
) -> None:
    ann, bob = recognition.enrol("Ann", 1), recognition.enrol("Bob", 2)
    assert listed(recognition, subject="aNN") == [ann]
    assert listed(recognition, subject="") == [ann, bob]
    assert listed(recognition, sort="subject.subjectName,asc") == [ann, bob]


# Deleting


def test_without_a_subject_all_examples_are_deleted(recognition: Caller) -> None:
    recognition.enrol("Ann", 1)
    recognition.enrol("Bob", 2)
    assert recognition.delete(FACES).json() == {"deleted": 2}
    assert listed(recognition) == []


@pytest.mark.parametrize("query", ["?subject=", "?subject=%20", "/?&subject="])
def test_an_empty_subject_deletes_nobody(recognition: Caller, query: str) -> None:
    image_id = recognition.enrol("Ann", 1)
    assert failed(recognition.delete(f"{FACES}{query}")) == (400, 26)
    assert listed(recognition) == [image_id]


def test_an_unknown_subject_has_nothing_to_delete(recognition: Caller) -> None:
    assert recognition.delete(f"{FACES}?subject=Nobody").json() == {"deleted": 0}


def test_the_subject_goes_with_its_last_example(recognition: Caller) -> None:
    image_id = recognition.enrol("Ann", 1)
    recognition.delete(f"{FACES}/{image_id}/")
    assert recognition.get(f"{RECOGNITION}/subjects").json() == {"subjects": []}


def test_an_unknown_example_is_named(recognition: Caller) -> None:
    image_id = uuid.uuid4()
    answer = recognition.delete(f"{FACES}/{image_id}")
    assert answer.status_code == 404
    assert answer.json() == {"message": f"Image {image_id} not found", "code": 44}


def test_a_bulk_deletion_skips_what_it_does_not_find(recognition: Caller) -> None:
    first, second = recognition.enrol("Ann", 1), recognition.enrol("Bob", 2)
    answer = recognition.post(f"{FACES}/delete", json=[second, str(uuid.uuid4()), second, first])
    assert answer.json() == [
        {"image_id": second, "subject": "Bob"},
        {"image_id": first, "subject": "Ann"},
    ]
    assert recognition.post(f"{FACES}/delete", json=[]).json() == []


@pytest.mark.parametrize("body", ["null", "{}", '["x"]', '"x"', "[1]", "", "["])
def test_a_bulk_deletion_of_anything_but_ids_deletes_nothing(
    recognition: Caller, body: str
) -> None:
    image_id = recognition.enrol("Ann", 1)
    content = body.replace('["x"]', f'["{image_id}", "x"]')
    answer = recognition.post(
        f"{FACES}/delete", content=content, headers={"content-type": "application/json"}
    )
    assert failed(answer) == (400, 26)
    assert listed(recognition) == [image_id]


# Pictures


def addresses(caller: Caller, image_id: str) -> list[str]:
    return [f"{FACES}/{image_id}/img", f"/api/v1/static/{caller.key}/images/{image_id}"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_picture_comes_back_byte_for_byte(recognition: Caller, kind: str, place: int) -> None:
    picture = tiny_models.portrait(1, kind=kind)
    added = recognition.send(FACES, picture, params={"subject": "Ann"}).json()
    address = addresses(recognition, added["image_id"])[place]
    answer = recognition.get(address)
    assert answer.content == picture
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-cache"
    tag = answer.headers["etag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = recognition.get(address, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert recognition.get(address, headers={"if-none-match": '"x"'}).status_code == 200


def test_a_deleted_picture_is_gone_even_for_those_who_had_it(recognition: Caller) -> None:
    image_id = recognition.enrol("Ann", 1)
    tags = [recognition.get(one).headers["etag"] for one in addresses(recognition, image_id)]
    recognition.delete(f"{FACES}/{image_id}")
    for address, tag in zip(addresses(recognition, image_id), tags, strict=True):
        is_nothing(recognition.get(address, headers={"if-none-match": tag}))


def is_nothing(answer: Response) -> None:
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


@pytest.mark.parametrize("key", ["0f9d3a52-6c1b-4e7a-9d44-2b8e5f70c316", "x", "%2F", "%C3%A9"])
def test_a_wrong_key_shows_no_picture(recognition: Caller, key: str) -> None:
    image_id = recognition.enrol("Ann", 1)
    is_nothing(recognition.client.get(f"/api/v1/static/{key}/images/{image_id}"))


def test_a_key_of_another_service_shows_no_picture(
    recognition: Caller, detection: Caller, app: App
) -> None:
    image_id = recognition.enrol("Ann", 1)
    stranger = new_caller(app, recognition.client, ServiceType.RECOGNITION).key
    for key in (detection.key, stranger):
        is_nothing(recognition.client.get(f"/api/v1/static/{key}/images/{image_id}"))
    is_nothing(recognition.get(f"{FACES}/{image_id}/img", headers={"x-api-key": stranger}))


def test_an_unknown_id_shows_no_picture(recognition: Caller) -> None:
    for address in addresses(recognition, str(uuid.uuid4())):
        is_nothing(recognition.get(address))


def test_an_id_that_is_none_is_refused(recognition: Caller) -> None:
    for address in (*addresses(recognition, "x"), *addresses(recognition, "%FF")):
        assert failed(recognition.get(address)) == (400, 26)
