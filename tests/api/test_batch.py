"""Many examples with one request, and a whole collection as an archive."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response

import tiny_models
from api.calls import RECOGNITION, Caller, failed, new_caller, serving
from knownface.app import App
from knownface.settings import Settings
from knownface.types import ServiceType

BATCH = f"{RECOGNITION}/faces/batch"
ANN, BOB = tiny_models.portrait(1), tiny_models.portrait(2)


def send(caller: Caller, *pictures: bytes, subjects: Any = "Ann", **request: Any) -> Response:
    files = [("file", (f"{n}.png", data)) for n, data in enumerate(pictures)]
    return caller.post(BATCH, files=files, data={"subject": subjects}, **request)


def results(answer: Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["result"]
    found: list[dict[str, Any]] = answer.json()["result"]
    return found


def stored(caller: Caller) -> dict[str, str]:
    faces = caller.get(f"{RECOGNITION}/faces", params={"size": 1000}).json()["faces"]
    return {face["image_id"]: face["subject"] for face in faces}


def archive(answer: Response) -> zipfile.ZipFile:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return zipfile.ZipFile(io.BytesIO(answer.content))


# In


def test_each_picture_has_its_own_result_in_the_order_of_the_request(recognition: Caller) -> None:
    pictures = (ANN, tiny_models.blank(), BOB, tiny_models.group([3, 4]), b"broken")
    first, nobody, second, several, broken = results(send(recognition, *pictures))
    assert [nobody["code"], several["code"], broken["code"]] == [28, 31, 21]
    assert all(one["message"] for one in (nobody, several, broken))
    assert stored(recognition) == {first["image_id"]: "Ann", second["image_id"]: "Ann"}
    assert [first["subject"], second["subject"]] == ["Ann", "Ann"]
    downloaded = recognition.get(f"{RECOGNITION}/faces/{second['image_id']}/img")
    assert downloaded.content == BOB


def test_each_picture_may_have_a_subject_of_its_own(recognition: Caller) -> None:
    ann, bob = results(send(recognition, ANN, BOB, subjects=["Ann", "Zoë / Bob"]))
    assert stored(recognition) == {ann["image_id"]: "Ann", bob["image_id"]: "Zoë / Bob"}


def test_the_subject_of_the_query_is_that_of_every_picture(recognition: Caller) -> None:
    files = [("file", ("a.png", ANN)), ("file", ("b.png", BOB))]
    found = results(recognition.post(BATCH, files=files, params={"subject": "Ann"}))
    assert [one["subject"] for one in found] == ["Ann", "Ann"]


def test_a_request_that_is_repeated_stores_nothing_twice(recognition: Caller) -> None:
    first = results(send(recognition, ANN, BOB))
    again = results(send(recognition, ANN, BOB, subjects="ANN"))
    assert again == [one | {"duplicate": True} for one in first]
    assert len(stored(recognition)) == 2


def test_a_picture_that_comes_twice_in_one_request_is_stored_once(recognition: Caller) -> None:
    found = results(send(recognition, ANN, ANN))
    assert len({one["image_id"] for one in found}) == 1
    assert [one.get("duplicate") for one in found].count(True) == 1
    assert len(stored(recognition)) == 1


def test_a_picture_that_was_added_by_itself_is_known(recognition: Caller) -> None:
    image_id = recognition.enrol("Ann", 1)
    assert results(send(recognition, ANN)) == [
        {"image_id": image_id, "subject": "Ann", "duplicate": True}
    ]


def test_the_same_picture_is_another_example_of_another_subject(recognition: Caller) -> None:
    found = results(send(recognition, ANN, ANN, subjects=["Ann", "Bob"]))
    assert sorted(stored(recognition).values()) == ["Ann", "Bob"]
    assert not any("duplicate" in one for one in found)


def test_what_is_added_is_found_by_the_next_request(recognition: Caller) -> None:
    send(recognition, ANN)
    answer = recognition.send(f"{RECOGNITION}/recognize", ANN)
    assert answer.json()["result"][0]["subjects"][0]["subject"] == "Ann"


def test_another_service_has_examples_of_its_own(
    app: App, client: Any, recognition: Caller
) -> None:
    other = new_caller(app, client, ServiceType.RECOGNITION)
    (mine,), (theirs,) = results(send(recognition, ANN)), results(send(other, ANN))
    assert mine["image_id"] != theirs["image_id"]
    assert "duplicate" not in theirs


def test_a_subject_that_cannot_be_one_fails_alone(recognition: Caller) -> None:
    good, bad = results(send(recognition, ANN, BOB, subjects=["Ann", " "]))
    assert good["subject"] == "Ann"
    assert bad["code"] == 26


def test_the_threshold_of_the_request_counts_for_all(recognition: Caller) -> None:
    faint = tiny_models.encode(
        tiny_models.picture([tiny_models.Mark(1, 64, 64, confidence=0.7)], 256, 256)
    )
    refused, found = (
        results(send(recognition, faint, params={"det_prob_threshold": value}))[0]
        for value in ("0.9", "0.1")
    )
    assert refused["code"] == 28
    assert found["subject"] == "Ann"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"files": [("other", ("a.png", ANN))], "data": {"subject": "Ann"}}, (400, 34)),
        ({"files": [("file", ("a.png", ANN))]}, (400, 33)),
        ({"files": [("file", ("a.png", ANN))], "data": {"subject": ["Ann", "Bob"]}}, (400, 26)),
        (
            {"files": [("file", ("a.png", ANN))], "data": {"subject": ["A", "x" * 70_000]}},
            (400, 26),
        ),
        (
            {
                "files": [("file", ("a.png", ANN))],
                "data": {"subject": "Ann", "det_prob_threshold": "2"},
            },
            (400, 26),
        ),
        ({"json": {"file": "eA=="}}, (415, 0)),
    ],
    ids=["no file", "no subject", "two subjects", "a long subject", "a threshold", "json"],
)
def test_a_request_that_makes_no_sense_stores_nothing(
    recognition: Caller, request_: Any, expected: tuple[int, int]
) -> None:
    assert failed(recognition.post(BATCH, **request_)) == expected
    assert stored(recognition) == {}


def test_a_picture_over_the_limit_fails_alone(settings: Settings) -> None:
    with serving(settings, max_file_size=len(ANN) + 100) as (app, client):
        caller = new_caller(app, client, ServiceType.RECOGNITION)
        large, ann = results(send(caller, BOB + bytes(2000), ANN))
        assert large["code"] == 0
        assert "max_file_size" in large["message"]
        assert stored(caller) == {ann["image_id"]: "Ann"}


def test_the_limit_of_a_request_counts_for_all_of_it(settings: Settings) -> None:
    with serving(settings, max_request_size=2 * len(ANN)) as (app, client):
        caller = new_caller(app, client, ServiceType.RECOGNITION)
        assert failed(send(caller, ANN, ANN)) == (413, 0)
        assert stored(caller) == {}


def test_hundreds_of_pictures_fit_into_one_request(recognition: Caller) -> None:
    pictures = [b"%d" % number for number in range(500)]
    assert {one["code"] for one in results(send(recognition, *pictures))} == {21}


def test_only_a_key_of_recognition_opens_it(detection: Caller) -> None:
    assert failed(send(detection, ANN)) == (404, 10)
    assert failed(detection.get(BATCH)) == (404, 10)


# Out


def test_an_archive_holds_every_photograph_under_its_subject(recognition: Caller) -> None:
    ann, bob = results(send(recognition, ANN, BOB, subjects=["Ann", "a/b;c\\d"]))
    found = archive(recognition.get(BATCH))
    assert found.testzip() is None
    rows = list(csv.DictReader(io.StringIO(found.read("manifest.csv").decode())))
    assert [(row["image_id"], row["subject"]) for row in rows] == [
        (ann["image_id"], "Ann"),
        (bob["image_id"], "a/b;c\\d"),
    ]
    assert found.read(rows[0]["file"]) == ANN
    assert found.read(rows[1]["file"]) == BOB
    assert rows[0]["file"] == f"Ann/{ann['image_id']}.png"
    assert found.namelist()[-1] == "manifest.csv"


def test_an_archive_may_be_of_one_subject_and_hold_embeddings(recognition: Caller) -> None:
    _, bob = results(send(recognition, ANN, BOB, subjects=["Ann", "Bob"]))
    query = {"subject": "bob", "embeddings": "true"}
    found = archive(recognition.get(BATCH, params=query))
    lines = [json.loads(line) for line in found.read("embeddings.jsonl").splitlines()]
    assert [line["image_id"] for line in lines] == [bob["image_id"]]
    assert lines[0]["subject"] == "Bob"
    assert lines[0]["model"] == tiny_models.EMBEDDER
    assert len(lines[0]["embedding"]) == tiny_models.DIMENSION
    assert len(found.namelist()) == 3


def test_an_archive_of_nothing_is_one(recognition: Caller) -> None:
    assert archive(recognition.get(BATCH)).namelist() == ["manifest.csv"]
    nobody = recognition.get(BATCH, params={"subject": "Nobody"})
    assert archive(nobody).namelist() == ["manifest.csv"]


def test_an_archive_larger_than_a_piece_comes_whole(recognition: Caller) -> None:
    noisy = [ANN + bytes(50_000) + b"%d" % number for number in range(5)]
    assert not any("code" in one for one in results(send(recognition, *noisy)))
    found = archive(recognition.get(BATCH))
    assert found.testzip() is None
    assert len(found.namelist()) == 6


def test_both_are_described(server: FastAPI) -> None:
    described = server.openapi()["paths"][BATCH]
    assert set(described) == {"get", "post"}
    assert "multipart/form-data" in described["post"]["requestBody"]["content"]
