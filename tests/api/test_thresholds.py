"""Known or unknown over HTTP: thresholds of a request and of a service, and what tells how sure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import tiny_models
from api.calls import RECOGNITION, Caller, failed, new_caller, serving
from knownface.app import App
from knownface.settings import Settings
from knownface.types import ServiceType, Threshold

RECOGNIZE = f"{RECOGNITION}/recognize"
VERIFY = "/api/v1/verification/verify"
FMR = ((0.2, 1e-1), (0.5, 1e-2), (0.9, 1e-4))
ANN = tiny_models.portrait(1)
LIKE_ANN = tiny_models.portrait(1, like=(9, 0.68))  # a similarity of about 0.75
UNUSABLE = [
    ("similarity_threshold=-0.1", "similarity_threshold"),
    ("similarity_threshold=1.1", "similarity_threshold"),
    ("similarity_threshold=nan", "similarity_threshold"),
    ("similarity_threshold=high", "similarity_threshold"),
    ("max_fmr=-1", "max_fmr"),
    ("max_fmr=0", "max_fmr"),
    ("max_fmr=2", "max_fmr"),
    ("max_fmr=1e-4&similarity_threshold=0.5", "not both"),
    ("max_fmr=9e-5", "supports is 0.0001"),
    ("image_id=6b135f5b", "image_id"),
    ("status=maybe", "status"),
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder whose embedder has a table of false match rates."""
    folder = tmp_path_factory.mktemp("measured")
    tiny_models.write_models(folder, fmr=FMR)
    return folder


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, measured: Path
) -> Iterator[tuple[App, TestClient]]:
    settings = Settings(
        data=tmp_path_factory.mktemp("data"),
        models_dir=measured,
        detector=tiny_models.DETECTOR,
        embedder=tiny_models.EMBEDDER,
        offline=True,
    )
    with serving(settings) as (app, client):
        yield app, client


@pytest.fixture
def door(served: tuple[App, TestClient]) -> Caller:
    """A recognition service that knows Ann."""
    caller = new_caller(*served, ServiceType.RECOGNITION)
    caller.enrol("Ann", 1)
    return caller


def with_threshold(served: tuple[App, TestClient], threshold: Threshold) -> Caller:
    app, client = served
    _, key = app.accounts.create_service(
        "tests", repr(threshold), ServiceType.RECOGNITION, threshold=threshold
    )
    caller = Caller(client, key)
    caller.enrol("Ann", 1)
    return caller


def subjects(caller: Caller, query: str, picture: bytes = LIKE_ANN) -> list[dict[str, Any]]:
    answer = caller.send(f"{RECOGNIZE}?{query}", picture)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["result"][0]["subjects"]
    return found


def embedding(caller: Caller, picture: bytes = LIKE_ANN) -> list[float]:
    answer = caller.send(f"{RECOGNIZE}?face_plugins=calculator", picture)
    vector: list[float] = answer.json()["result"][0]["embedding"]
    return vector


def similarities(caller: Caller, query: str, vector: list[float]) -> list[dict[str, Any]]:
    path = f"{RECOGNITION}/embeddings/recognize?{query}"
    answer = caller.post(path, json={"embeddings": [vector]})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["result"][0]["similarities"]
    return found


def test_without_a_threshold_the_most_similar_is_named_however_unlike(door: Caller) -> None:
    (found,) = subjects(door, "", tiny_models.portrait(5))
    assert set(found) == {"subject", "similarity"}
    assert found["similarity"] < 0.1


def test_a_stranger_is_unknown_and_a_face_all_the_same(door: Caller) -> None:
    answer = door.send(f"{RECOGNIZE}?similarity_threshold=0.5", tiny_models.group([1, 5]))
    assert answer.status_code == 200
    assert [len(face["subjects"]) for face in answer.json()["result"]] == [1, 0]


def test_the_similarity_that_an_answer_shows_is_enough_and_a_step_more_is_too_much(
    door: Caller,
) -> None:
    shown = subjects(door, "")[0]["similarity"]
    assert 0.7 < shown < 0.8
    assert len(subjects(door, f"similarity_threshold={shown}")) == 1
    assert subjects(door, f"similarity_threshold={shown + 0.00001:.5f}") == []
    # The curve ends below 1, which is shown all the same.
    assert subjects(door, "similarity_threshold=1", ANN)[0]["similarity"] == 1.0


@pytest.mark.parametrize("threshold", [0, 0.01, 0.3, 0.5, 0.745, 0.76, 0.9, 1])
def test_a_threshold_leaves_out_what_is_below_it_and_changes_nothing_else(
    door: Caller, threshold: float
) -> None:
    for name, identity in (("Bob", 2), ("Cy", 9), ("Dee", 4)):
        door.enrol(name, identity)
    plain = subjects(door, "prediction_count=3")
    assert len(plain) == 3
    kept = [one for one in plain if one["similarity"] >= threshold]
    query = f"prediction_count=3&similarity_threshold={threshold}"
    assert subjects(door, query) == kept
    vector = embedding(door)
    assert similarities(door, query, vector) == kept


@pytest.mark.parametrize(
    ("rate", "known"), [("1", 1), ("0.01", 1), ("1e-3", 1), ("2e-4", 0), ("1e-4", 0)]
)
def test_a_false_match_rate_is_translated_by_the_table_of_the_model(
    door: Caller, rate: str, known: int
) -> None:
    assert len(subjects(door, f"max_fmr={rate}")) == known
    assert len(similarities(door, f"max_fmr={rate}", embedding(door))) == known
    assert len(subjects(door, f"max_fmr={rate}", ANN)) == 1


def test_a_threshold_may_come_in_the_form(door: Caller) -> None:
    answer = door.send(RECOGNIZE, LIKE_ANN, data={"similarity_threshold": "0.9"})
    assert answer.json()["result"][0]["subjects"] == []
    answer = door.send(RECOGNIZE, LIKE_ANN, data={"similarity_threshold": "", "max_fmr": ""})
    assert len(answer.json()["result"][0]["subjects"]) == 1


@pytest.mark.parametrize("threshold", [Threshold(0.9), Threshold(max_fmr=1e-4)], ids=str)
def test_what_a_request_says_replaces_what_its_service_says(
    served: tuple[App, TestClient], threshold: Threshold
) -> None:
    caller = with_threshold(served, threshold)
    vector = embedding(caller)
    for query, known in [
        ("", 0),
        ("similarity_threshold=", 0),
        ("similarity_threshold=0.5", 1),
        ("similarity_threshold=0", 1),
        ("max_fmr=0.01", 1),
        ("max_fmr=0.0001", 0),
    ]:
        assert len(subjects(caller, query)) == known, query
        assert len(similarities(caller, query, vector)) == known, query
    assert len(subjects(caller, "", ANN)) == 1


def test_a_change_of_a_service_holds_from_the_next_request_on(
    served: tuple[App, TestClient], door: Caller
) -> None:
    app, _ = served
    service = app.accounts.authorize(door.key, ServiceType.RECOGNITION)
    for threshold, known in ((Threshold(0.9), 0), (Threshold(0.7), 1), (None, 1)):
        app.accounts.set_threshold(service.application, service.name, threshold)
        assert len(subjects(door, "")) == known


@pytest.mark.parametrize(("query", "complaint"), UNUSABLE)
def test_a_threshold_that_cannot_be_used_is_named(door: Caller, query: str, complaint: str) -> None:
    for answer in (
        door.send(f"{RECOGNIZE}?{query}", ANN),
        door.post(
            f"{RECOGNITION}/embeddings/recognize?{query}", json={"embeddings": [[1.0] * 128]}
        ),
    ):
        assert failed(answer) == (400, 26)
        assert complaint in answer.json()["message"]


def test_a_rate_that_the_table_of_the_service_cannot_tell_is_not_passed_over(
    served: tuple[App, TestClient],
) -> None:
    app, client = served
    _, key = app.accounts.create_service(
        "tests", "strict", ServiceType.RECOGNITION, threshold=Threshold(max_fmr=1e-9)
    )
    answer = Caller(client, key).send(RECOGNIZE, ANN)
    assert failed(answer) == (400, 26)
    assert "1e-09" in answer.json()["message"]


def test_a_model_without_a_table_has_no_rates(recognition: Caller) -> None:
    recognition.enrol("Ann", 1)
    answer = recognition.send(f"{RECOGNIZE}?max_fmr=0.01", ANN)
    assert failed(answer) == (400, 26)
    assert "similarity_threshold" in answer.json()["message"]
    (found,) = subjects(recognition, "status=true&similarity_threshold=0.5")
    assert set(found) == {"subject", "similarity"}


# How sure


def test_with_status_every_similarity_has_its_false_match_rate(
    served: tuple[App, TestClient], door: Caller
) -> None:
    verification = new_caller(*served, ServiceType.VERIFICATION)
    stored = door.enrol("Ann", 1)
    vector = embedding(door)
    pictures = {"source_image": ("a.png", ANN), "target_image": ("b.png", LIKE_ANN)}
    embeddings = {"embeddings": [vector]}
    pair = {"source": embedding(door, ANN), "targets": [vector]}
    for status in ("", "status=true"):
        example = door.send(f"{RECOGNITION}/faces/{stored}/verify?{status}", LIKE_ANN)
        compared = verification.post(f"{VERIFY}?{status}", files=pictures)
        by_example = door.post(
            f"{RECOGNITION}/embeddings/faces/{stored}/verify?{status}", json=embeddings
        )
        by_source = verification.post(f"/api/v1/verification/embeddings/verify?{status}", json=pair)
        found = [
            subjects(door, status)[0],
            similarities(door, status, vector)[0],
            example.json()["result"][0],
            compared.json()["result"][0]["face_matches"][0],
            by_example.json()["result"][0],
            by_source.json()["result"][0],
        ]
        rates = {one.get("false_match_rate") for one in found}
        if status:
            (rate,) = rates
            assert 1e-4 < rate < 1e-2
            assert len(subjects(door, f"max_fmr={rate * 1.01}")) == 1
            assert subjects(door, f"max_fmr={rate * 0.99}") == []
        else:
            assert rates == {None}


def test_a_rate_is_bounded_by_the_table(door: Caller) -> None:
    assert subjects(door, "status=true", ANN)[0]["false_match_rate"] == 1e-4
    (stranger,) = subjects(door, "status=true", tiny_models.portrait(5))
    assert 0.5 < stranger["false_match_rate"] <= 1


def test_the_best_example_is_told_when_asked_for(door: Caller) -> None:
    door.enrol("Bob", 2)
    best = door.enrol("Ann", 9)
    query = "image_id=true&prediction_count=2"
    found = subjects(door, query, tiny_models.portrait(9))
    assert [list(one) for one in found] == [["subject", "similarity", "image_id"]] * 2
    assert (found[0]["subject"], found[0]["image_id"]) == ("Ann", best)
    vector = embedding(door, tiny_models.portrait(9))
    assert similarities(door, query, vector)[0]["image_id"] == best
    assert "image_id" not in subjects(door, "image_id=false")[0]


@pytest.mark.parametrize("query", ["similarity_threshold=9", "max_fmr=9", "image_id=x"])
def test_what_only_recognition_knows_is_ignored_elsewhere(
    served: tuple[App, TestClient], query: str
) -> None:
    detection = new_caller(*served, ServiceType.DETECTION)
    assert detection.send(f"/api/v1/detection/detect?{query}", ANN).status_code == 200
    verification = new_caller(*served, ServiceType.VERIFICATION)
    pictures = {"source_image": ("a.png", ANN), "target_image": ("b.png", tiny_models.portrait(5))}
    answer = verification.post(f"{VERIFY}?{query}", files=pictures)
    assert len(answer.json()["result"][0]["face_matches"]) == 1
