"""Recognition, detection, verification over HTTP: parameters everywhere, real clients' quirks."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest

import tiny_models
from api.calls import RECOGNITION, Caller, failed, new_caller, serving
from knownface.app import App
from knownface.settings import Settings
from knownface.types import ServiceType

RECOGNIZE = f"{RECOGNITION}/recognize"
DETECT = "/api/v1/detection/detect"
VERIFY = "/api/v1/verification/verify"
ANN = tiny_models.portrait(1)
GROUP = tiny_models.group([1, 2, 3])


def verify(caller: Caller, source: bytes, target: bytes, **request: Any) -> Any:
    pictures = {"source_image": ("a.png", source), "target_image": ("b.png", target)}
    return caller.post(VERIFY, files=pictures, **request)


# Parameters


@pytest.mark.parametrize(
    ("query", "form", "faces"),
    [
        ("", {}, 3),
        ("?&limit=0", {}, 3),
        ("?limit=2", {}, 2),
        ("", {"limit": "1"}, 1),
        ("?limit=2", {"limit": "1"}, 2),
        ("?limit=&status=&det_prob_threshold=&face_plugins=", {}, 3),
        ("?limit=99", {}, 3),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_limit_comes_from_the_query_or_the_form(
    detection: Caller, query: str, form: dict[str, str], faces: int, slash: str
) -> None:
    answer = detection.send(f"{DETECT}{slash}{query}", GROUP, data=form)
    assert len(answer.json()["result"]) == faces


def test_with_a_json_body_parameters_come_from_the_query_alone(detection: Caller) -> None:
    answer = detection.send_json(f"{DETECT}?&limit=2&status=True", GROUP)
    assert len(answer.json()["result"]) == 2
    assert "plugins_versions" in answer.json()


@pytest.mark.parametrize(
    ("plugins", "fields"),
    [
        ("", set()),
        ("face_plugins=", set()),
        ("face_plugins=undefined", set()),
        ("face_plugins=detector,nonsense", set()),
        ("face_plugins=landmarks", {"landmarks"}),
        ("face_plugins=landmarks,%20calculator", {"landmarks", "embedding"}),
        ("face_plugins=landmarks&face_plugins=calculator", {"landmarks", "embedding"}),
    ],
)
def test_an_attribute_is_there_when_it_was_asked_for(
    detection: Caller, plugins: str, fields: set[str]
) -> None:
    face = detection.send(f"{DETECT}?{plugins}", ANN).json()["result"][0]
    assert set(face) == {"box"} | fields


@pytest.mark.parametrize("slugs", ["landmarks,landmarks2d106", "landmarks2d106,landmarks"])
def test_106_landmarks_take_the_place_of_five_and_are_reported(
    detection: Caller, slugs: str
) -> None:
    body = detection.send(f"{DETECT}?face_plugins={slugs}&status=1", ANN).json()
    (face,) = body["result"]
    assert [[type(v) for v in point] for point in face["landmarks"]] == [[int, int]] * 106
    assert set(face) == {"box", "landmarks", "execution_time"}
    reported = {"detector", "landmarks2d106"}
    assert set(face["execution_time"]) == set(body["plugins_versions"]) == reported


def test_the_values_of_attributes_are_those_that_clients_know(detection: Caller) -> None:
    body = detection.send(f"{DETECT}?face_plugins=age,gender,pose&status=1", ANN).json()
    (face,) = body["result"]
    assert {name: type(value) for name, value in face["age"].items()} == {
        "probability": float,
        "high": int,
        "low": int,
    }
    assert face["gender"]["value"] in ("male", "female")
    assert {name: type(value) for name, value in face["pose"].items()} == {
        "pitch": float,
        "roll": float,
        "yaw": float,
    }
    reported = {"detector", "age", "gender", "pose"}
    assert set(face["execution_time"]) == set(body["plugins_versions"]) == reported


def test_a_plugin_that_fails_is_left_out_and_counted(settings: Settings, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(settings.models_dir, models)
    (models / "mesh" / "mesh.onnx").unlink()
    given = settings.model_copy(update={"models_dir": models})
    with serving(given) as (app, client):
        caller = new_caller(app, client, ServiceType.DETECTION)
        answer = caller.send(f"{DETECT}?face_plugins=pose,age,landmarks2d106,landmarks", ANN)
        text = client.get("/metrics").text
    assert answer.status_code == 200
    (face,) = answer.json()["result"]
    assert set(face) == {"box", "age", "landmarks"}
    assert len(face["landmarks"]) == 5
    assert 'knownface_plugin_failures_total{plugin="pose"} 1.0' in text
    assert 'knownface_plugin_failures_total{plugin="landmarks2d106"} 1.0' in text


def test_landmarks_are_pairs_of_whole_pixels_and_appear_in_no_report(detection: Caller) -> None:
    body = detection.send(f"{DETECT}?face_plugins=landmarks&status=1", ANN).json()
    face = body["result"][0]
    assert [[type(v) for v in point] for point in face["landmarks"]] == [[int, int]] * 5
    assert set(face["execution_time"]) == set(body["plugins_versions"]) == {"detector"}


def test_times_and_versions_are_there_with_status_alone(
    recognition: Caller, verification: Caller
) -> None:
    recognition.enrol("Ann", 1)
    plain = recognition.send(RECOGNIZE, ANN).json()
    assert set(plain) == {"result"}
    assert "execution_time" not in plain["result"][0]
    told = recognition.send(f"{RECOGNIZE}?status=on", ANN).json()
    assert set(told["plugins_versions"]) == {"detector", "calculator"}
    times = told["result"][0]["execution_time"]
    assert set(times) == {"detector", "calculator"}
    assert all(isinstance(ms, float) for ms in times.values())
    compared = verify(verification, ANN, ANN, params={"status": "yes"}).json()
    assert set(compared) == {"result"}
    assert set(compared["result"][0]["plugins_versions"]) == {"detector", "calculator"}


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=abc",
        "limit=1.5",
        "limit=9999999999",
        "status=maybe",
        "det_prob_threshold=-0.1",
        "det_prob_threshold=1.1",
        "det_prob_threshold=nan",
        "det_prob_threshold=inf",
        "det_prob_threshold=0.8?face_plugins=age",
    ],
)
def test_a_wrong_parameter_is_named(
    recognition: Caller, detection: Caller, verification: Caller, query: str
) -> None:
    path = f"{RECOGNITION}/faces/{recognition.enrol('Ann', 1)}/verify"
    for answer in (
        recognition.send(f"{RECOGNIZE}?{query}", ANN),
        recognition.send_json(f"{RECOGNIZE}?{query}", ANN),
        recognition.send(f"{path}?{query}", ANN),
        detection.send(f"{DETECT}?{query}", ANN),
        verify(verification, ANN, ANN, params=query),
    ):
        assert failed(answer) == (400, 26)
        assert query.partition("=")[0] in answer.json()["message"]


@pytest.mark.parametrize("query", ["prediction_count=0", "prediction_count=-1", "detect_faces=x"])
def test_a_wrong_parameter_of_recognition_is_named_and_elsewhere_ignored(
    recognition: Caller, verification: Caller, query: str
) -> None:
    answer = recognition.send(f"{RECOGNIZE}?{query}", ANN)
    assert failed(answer) == (400, 26)
    assert query.partition("=")[0] in answer.json()["message"]
    assert verify(verification, ANN, ANN, params=query).status_code == 200


# Answers


def test_each_subject_is_named_once_by_its_best_example(recognition: Caller) -> None:
    for identity in (1, 1, 1):
        recognition.enrol("Ann", identity)
    recognition.enrol("Bob", 2)
    answer = recognition.send(f"{RECOGNIZE}?prediction_count=5", ANN)
    subjects = answer.json()["result"][0]["subjects"]
    assert [one["subject"] for one in subjects] == ["Ann", "Bob"]
    assert subjects[0]["similarity"] == 1.0


def test_an_empty_collection_names_nobody(recognition: Caller) -> None:
    assert recognition.send(RECOGNIZE, ANN).json()["result"][0]["subjects"] == []


def test_a_picture_can_be_taken_as_one_face(recognition: Caller) -> None:
    recognition.enrol("Ann", 1)
    blank = tiny_models.blank(300, 200)
    answer = recognition.send(f"{RECOGNIZE}?detect_faces=false", tiny_models.portrait(1))
    box = answer.json()["result"][0]["box"]
    assert box == {"probability": 1.0, "x_max": 256, "y_max": 256, "x_min": 0, "y_min": 0}
    assert failed(recognition.send(RECOGNIZE, blank)) == (400, 28)


def test_probabilities_are_rounded_except_in_detection(
    recognition: Caller, detection: Caller, verification: Caller
) -> None:
    weak = tiny_models.encode(
        tiny_models.picture([tiny_models.Mark(1, 64, 64, confidence=0.87)], 256, 256)
    )
    exact = detection.send(DETECT, weak).json()["result"][0]["box"]["probability"]
    assert round(exact, 5) != exact
    recognized = recognition.send(RECOGNIZE, weak).json()["result"][0]
    compared = verify(verification, weak, weak).json()["result"][0]
    for face in (recognized, compared["source_image_face"], compared["face_matches"][0]):
        assert face["box"]["probability"] == round(exact, 5)


def test_a_box_is_whole_pixels(detection: Caller) -> None:
    box = detection.send(DETECT, ANN).json()["result"][0]["box"]
    edges = [box[edge] for edge in ("x_min", "y_min", "x_max", "y_max")]
    assert all(type(edge) is int for edge in edges)
    assert edges == pytest.approx([64, 64, 192, 192], abs=2)


def test_the_source_has_one_face_unless_the_limit_is_one(verification: Caller) -> None:
    assert failed(verify(verification, GROUP, ANN)) == (400, 31)
    assert failed(verify(verification, GROUP, ANN, params={"limit": 2})) == (400, 31)
    one = verify(verification, GROUP, GROUP, params={"limit": 1}).json()["result"][0]
    assert len(one["face_matches"]) == 1
    assert one["face_matches"][0]["similarity"] == 1.0


def test_the_limit_is_about_the_target(verification: Caller) -> None:
    answer = verify(verification, ANN, GROUP, params={"limit": 2})
    assert len(answer.json()["result"][0]["face_matches"]) == 2


@pytest.mark.parametrize(
    ("source", "target"), [(tiny_models.blank(), ANN), (ANN, tiny_models.blank())]
)
def test_no_face_on_either_side_is_28(verification: Caller, source: bytes, target: bytes) -> None:
    assert failed(verify(verification, source, target)) == (400, 28)


def test_an_unknown_example_cannot_be_compared_with(recognition: Caller) -> None:
    image_id = uuid.uuid4()
    answer = recognition.send(f"{RECOGNITION}/faces/{image_id}/verify", ANN)
    assert failed(answer) == (404, 44)
    body = {"embeddings": [[1.0] * 128]}
    path = f"{RECOGNITION}/embeddings/faces/{image_id}/verify"
    assert failed(recognition.post(path, json=body)) == (404, 44)


def test_an_example_of_another_service_is_unknown(recognition: Caller, app: App) -> None:
    image_id = recognition.enrol("Ann", 1)
    stranger = new_caller(app, recognition.client, ServiceType.RECOGNITION)
    assert failed(stranger.send(f"{RECOGNITION}/faces/{image_id}/verify", ANN)) == (404, 44)
    assert failed(stranger.delete(f"{RECOGNITION}/faces/{image_id}")) == (404, 44)
    assert stranger.post(f"{RECOGNITION}/faces/delete", json=[image_id]).json() == []
    assert recognition.get(f"{RECOGNITION}/faces/{image_id}/img").content


# Embeddings


@pytest.mark.parametrize(
    "embeddings",
    [
        [[1.0, 2.0]],
        [[1.0] * 128, [1.0]],
        [[]],
        [[0.0] * 128],
        [[1.0] * 127 + [True]],
        [[1.0] * 127 + ["1"]],
        [[1.0] * 127 + [None]],
        [[[1.0] * 128]],
        "x",
        {"a": 1},
        [1.0] * 128,
    ],
)
def test_embeddings_that_cannot_be_compared_are_refused(
    recognition: Caller, verification: Caller, embeddings: Any
) -> None:
    stored = recognition.enrol("Ann", 1)
    for answer in (
        recognition.post(f"{RECOGNITION}/embeddings/recognize", json={"embeddings": embeddings}),
        recognition.post(
            f"{RECOGNITION}/embeddings/faces/{stored}/verify", json={"embeddings": embeddings}
        ),
        verification.post(
            "/api/v1/verification/embeddings/verify",
            json={"source": [1.0] * 128, "targets": embeddings},
        ),
    ):
        assert failed(answer) == (400, 26)


def test_a_wrong_length_is_told_with_the_right_one_and_the_model(recognition: Caller) -> None:
    answer = recognition.post(
        f"{RECOGNITION}/embeddings/recognize", json={"embeddings": [[1.0, 2.0]]}
    )
    message = answer.json()["message"]
    assert "128" in message
    assert tiny_models.EMBEDDER in message


@pytest.mark.parametrize("body", [{}, {"embeddings": None}, {"embeddings": []}])
def test_missing_embeddings_are_5(recognition: Caller, body: Any) -> None:
    answer = recognition.post(f"{RECOGNITION}/embeddings/recognize", json=body)
    assert failed(answer) == (400, 5)
    assert answer.json()["message"] == "Field embeddings cannot be empty"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"targets": [[1.0]]}, "source"),
        ({"source": [], "targets": []}, "source"),
        ({"source": [1.0]}, "targets"),
    ],
)
def test_missing_source_or_targets_are_5(verification: Caller, body: Any, field: str) -> None:
    answer = verification.post("/api/v1/verification/embeddings/verify", json=body)
    assert failed(answer) == (400, 5)
    assert answer.json()["message"] == f"Field {field} cannot be empty"


def test_an_embedding_is_echoed_as_it_was_sent(recognition: Caller) -> None:
    sent = [[3] * 64 + [9.424854e-4] * 64]
    answer = recognition.post(f"{RECOGNITION}/embeddings/recognize", json={"embeddings": sent})
    assert answer.json() == {"result": [{"embedding": sent[0], "similarities": []}]}
