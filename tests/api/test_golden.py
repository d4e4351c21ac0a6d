"""Each call answers with the status, names, nesting and types that CompreFace documents.

`golden/*.json` holds the documented answers, with what docs/compatibility.md settles: `updated` is
a boolean, `deleted` a number, a bulk deletion answers an array. `pose`, which the documented
examples leave out, has the three angles that CompreFace sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from pydantic import TypeAdapter

import tiny_models
from api.calls import RECOGNITION, Caller
from knownface.api import schemas
from knownface.app import App

GOLDEN = Path(__file__).parent / "golden"
ALL_PLUGINS = "age,gender,mask,pose,landmarks,calculator"
# Their keys are slugs: which there are depends on the installed plugins.
BY_SLUG = ("execution_time", "plugins_versions")


class Golden:
    """Compares answers with documented ones, without the attributes no installed plugin finds."""

    def __init__(self, app: App) -> None:
        installed = app.pipeline.plugins
        # Of these the field has the name of the plugin.
        fields = ("age", "gender", "mask", "pose", "landmarks")
        self._absent = {field for field in fields if field not in installed}

    def check(self, answer: Response, name: str, model: Any) -> Any:
        documented = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
        assert answer.status_code == documented["status"], answer.text
        assert answer.headers["content-type"] == "application/json"
        assert self.shape(answer.json()) == self.shape(documented["answer"])
        TypeAdapter(model).validate_json(answer.content)
        return answer.json()

    def shape(self, value: object) -> object:
        """Replace every value by its type's name; an array is what its first element is."""
        if isinstance(value, Mapping):
            return {
                name: self._of_slugs(one) if name in BY_SLUG else self.shape(one)
                for name, one in value.items()
                if name not in self._absent
            }
        if isinstance(value, list):
            shapes = [self.shape(one) for one in value]
            assert all(shape == shapes[0] for shape in shapes)
            return shapes[:1]
        return type(value).__name__

    def _of_slugs(self, values: Mapping[str, object]) -> Mapping[str, object]:
        return {
            slug: type(value).__name__ for slug, value in values.items() if slug not in self._absent
        }


@pytest.fixture
def golden(app: App) -> Golden:
    return Golden(app)


ASKED = {
    "face_plugins": ALL_PLUGINS,
    "status": "true",
    "limit": "0",
    "prediction_count": "1",
    "det_prob_threshold": "0.5",
}


def test_every_documented_answer_is_compared_with_a_real_one() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [p.stem for p in GOLDEN.glob("*.json") if f'"{p.stem}"' not in source] == []


def test_create_subject(golden: Golden, recognition: Caller) -> None:
    answer = recognition.post(f"{RECOGNITION}/subjects", json={"subject": "Ann"})
    assert golden.check(answer, "create_subject", schemas.SubjectName) == {"subject": "Ann"}


def test_list_subjects(golden: Golden, recognition: Caller) -> None:
    for name in ("Ann", "Bob"):
        recognition.post(f"{RECOGNITION}/subjects", json={"subject": name})
    body = golden.check(
        recognition.get(f"{RECOGNITION}/subjects/"), "list_subjects", schemas.SubjectNames
    )
    assert body == {"subjects": ["Ann", "Bob"]}


def test_rename_subject(golden: Golden, recognition: Caller) -> None:
    recognition.post(f"{RECOGNITION}/subjects", json={"subject": "Ann"})
    answer = recognition.put(f"{RECOGNITION}/subjects/Ann", json={"subject": "Anna"})
    assert golden.check(answer, "rename_subject", schemas.Updated) == {"updated": True}


def test_delete_subject(golden: Golden, recognition: Caller) -> None:
    recognition.post(f"{RECOGNITION}/subjects", json={"subject": "Ann"})
    answer = recognition.delete(f"{RECOGNITION}/subjects/ann")
    assert golden.check(answer, "delete_subject", schemas.SubjectName) == {"subject": "Ann"}


def test_delete_subjects(golden: Golden, recognition: Caller) -> None:
    recognition.enrol("Ann", 1)
    recognition.post(f"{RECOGNITION}/subjects", json={"subject": "Bob"})
    answer = recognition.delete(f"{RECOGNITION}/subjects")
    assert golden.check(answer, "delete_subjects", schemas.Deleted) == {"deleted": 2}


def test_add_example(golden: Golden, recognition: Caller) -> None:
    answer = recognition.send(
        f"{RECOGNITION}/faces", tiny_models.portrait(1), params={"subject": "Ann"}
    )
    assert golden.check(answer, "add_example", schemas.Example)["subject"] == "Ann"


def test_list_examples(golden: Golden, recognition: Caller) -> None:
    ids = [recognition.enrol("Ann", 1) for _ in range(3)]
    answer = recognition.get(f"{RECOGNITION}/faces", params={"page": 1, "size": 2})
    assert golden.check(answer, "list_examples", schemas.ExamplePage) == {
        "faces": [{"image_id": ids[2], "subject": "Ann"}],
        "page_number": 1,
        "page_size": 2,
        "total_pages": 2,
        "total_elements": 3,
    }


def test_delete_examples_of(golden: Golden, recognition: Caller) -> None:
    for identity in (1, 1, 2):
        recognition.enrol(f"Person {identity}", identity)
    answer = recognition.delete(f"{RECOGNITION}/faces", params={"subject": "Person 1"})
    assert golden.check(answer, "delete_examples_of", schemas.Deleted) == {"deleted": 2}


def test_delete_example(golden: Golden, recognition: Caller) -> None:
    image_id = recognition.enrol("Ann", 1)
    body = golden.check(
        recognition.delete(f"{RECOGNITION}/faces/{image_id}"), "delete_example", schemas.Example
    )
    assert body == {"image_id": image_id, "subject": "Ann"}


def test_delete_examples(golden: Golden, recognition: Caller) -> None:
    first, second = (recognition.enrol("Ann", 1) for _ in range(2))
    answer = recognition.post(f"{RECOGNITION}/faces/delete", json=[second, first])
    body = golden.check(answer, "delete_examples", list[schemas.Example])
    assert [one["image_id"] for one in body] == [second, first]


@pytest.mark.parametrize("send", [Caller.send, Caller.send_json])
def test_recognize(golden: Golden, recognition: Caller, send: Any) -> None:
    recognition.enrol("Ann", 1)
    answer = send(recognition, f"{RECOGNITION}/recognize", tiny_models.group([1, 2]), params=ASKED)
    body = golden.check(answer, "recognize", schemas.Recognition)
    assert body["result"][0]["subjects"][0]["subject"] == "Ann"


@pytest.mark.parametrize("send", [Caller.send, Caller.send_json])
def test_verify_example(golden: Golden, recognition: Caller, send: Any) -> None:
    path = f"{RECOGNITION}/faces/{recognition.enrol('Ann', 1)}/verify"
    answer = send(recognition, path, tiny_models.group([1, 2]), params=ASKED)
    body = golden.check(answer, "verify_example", schemas.ExampleVerification)
    assert [one["subject"] for one in body["result"]] == ["Ann", "Ann"]
    assert body["result"][0]["similarity"] > 0.9 > 0.5 > body["result"][1]["similarity"]


@pytest.mark.parametrize("send", [Caller.send, Caller.send_json])
def test_detect(golden: Golden, detection: Caller, send: Any) -> None:
    answer = send(detection, "/api/v1/detection/detect", tiny_models.group([1, 2, 3]), params=ASKED)
    body = golden.check(answer, "detect", schemas.Detection)
    assert len(body["result"]) == 3


def test_verify(golden: Golden, verification: Caller) -> None:
    pictures = {
        "source_image": ("a.png", tiny_models.portrait(1)),
        "target_image": ("b.png", tiny_models.group([1, 2])),
    }
    answer = verification.post("/api/v1/verification/verify", files=pictures, params=ASKED)
    body = golden.check(answer, "verify", schemas.Verification)
    similarities = [one["similarity"] for one in body["result"][0]["face_matches"]]
    assert similarities[0] > 0.9 > 0.5 > similarities[1]


def embedding_of(caller: Caller, identity: int) -> list[float]:
    answer = caller.send(
        f"{RECOGNITION}/recognize",
        tiny_models.portrait(identity),
        params={"face_plugins": "calculator"},
    )
    embedding: list[float] = answer.json()["result"][0]["embedding"]
    return embedding


def test_recognize_embeddings(golden: Golden, recognition: Caller) -> None:
    recognition.enrol("Ann", 1)
    sent = [embedding_of(recognition, identity) for identity in (2, 1)]
    answer = recognition.post(
        f"{RECOGNITION}/embeddings/recognize",
        json={"embeddings": sent},
        params={"prediction_count": 2},
    )
    body = golden.check(answer, "recognize_embeddings", schemas.RecognizedEmbeddings)
    assert [one["embedding"] for one in body["result"]] == sent
    assert body["result"][1]["similarities"] == [{"subject": "Ann", "similarity": 1.0}]


def test_verify_embeddings_with_example(golden: Golden, recognition: Caller) -> None:
    image_id = recognition.enrol("Ann", 1)
    sent = [embedding_of(recognition, identity) for identity in (2, 1)]
    answer = recognition.post(
        f"{RECOGNITION}/embeddings/faces/{image_id}/verify", json={"embeddings": sent}
    )
    body = golden.check(answer, "verify_embeddings_with_example", schemas.VerifiedEmbeddings)
    assert [one["embedding"] for one in body["result"]] == sent[::-1]


def test_verify_embeddings(golden: Golden, recognition: Caller, verification: Caller) -> None:
    sent = [embedding_of(recognition, identity) for identity in (2, 1)]
    answer = verification.post(
        "/api/v1/verification/embeddings/verify", json={"source": sent[1], "targets": sent}
    )
    body = golden.check(answer, "verify_embeddings", schemas.VerifiedEmbeddings)
    assert [one["embedding"] for one in body["result"]] == sent[::-1]
    assert body["result"][0]["similarity"] == 1.0


def test_config(golden: Golden, client: TestClient) -> None:
    body = golden.check(client.get("/api/v1/config"), "config", schemas.Config)
    assert body == {"clientMaxFileSize": 5242880, "clientMaxBodySize": 10485760}


def test_consistence(golden: Golden, client: TestClient) -> None:
    answer = client.get("/api/v1/consistence/status")
    assert golden.check(answer, "consistence", schemas.Consistence)["dbIsInconsistent"] is False
