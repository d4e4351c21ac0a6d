"""The unmodified official Python client drives every one of its calls against a live server."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import tiny_models
from servers import running_server, tiny_settings

pytestmark = pytest.mark.e2e

Answers = dict[str, Any]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    python = os.environ.get("KNOWNFACE_TEST_SDK_PYTHON")
    if not python:
        pytest.skip("no official client: `make test` installs it and sets its interpreter")
    folder = tmp_path_factory.mktemp("sdk")
    pictures = {
        "alice": tiny_models.portrait(1),
        "also_alice": tiny_models.portrait(1, like=(2, 0.15), kind="JPEG"),
        "bob": tiny_models.portrait(3),
        "blank": tiny_models.blank(),
    }
    for name, data in pictures.items():
        (folder / f"{name}.png").write_bytes(data)
    with running_server(folder, tiny_settings(folder)) as server:
        asked = {
            "address": server.address,
            "keys": server.keys,
            "pictures": {name: str(folder / f"{name}.png") for name in pictures},
        }
        done = subprocess.run(
            [python, str(Path(__file__).with_name("sdk_calls.py"))],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert server.stop() == 0
    said: Answers = json.loads(done.stdout)
    return said


def test_subjects_are_created_listed_renamed_and_deleted(answers: Answers) -> None:
    assert answers["subjects.add"] == {"subject": "Alice"}
    assert answers["subjects.add again"]["code"] == 43
    assert answers["subjects.list"] == {"subjects": ["Alice", "Bob"]}
    assert answers["subjects.update"] == {"updated": True}
    assert answers["subjects.list renamed"] == {"subjects": ["Alice", "Robert"]}
    assert answers["subjects.delete"] == {"subject": "Carol"}
    assert answers["subjects.delete_all"] == {"deleted": 1}
    assert answers["subjects.list empty"] == {"subjects": []}


def test_a_subject_goes_with_its_last_example(answers: Answers) -> None:
    # Without a name this client asks for the deletion of all subjects; there were none any more.
    assert answers["subjects.delete without a name"] == {"deleted": 0}


def test_examples_are_added_listed_and_deleted(answers: Answers) -> None:
    added = [answers["faces.add"], answers["faces.add bytes"]]
    assert [one["subject"] for one in added] == ["Alice", "Bob"]
    assert all(UUID(one["image_id"]).version == 4 for one in added)
    assert answers["faces.list"]["faces"] == added
    assert answers["faces.list"]["total_elements"] == 2
    assert answers["faces.delete"] == added[0]
    assert answers["faces.delete again"]["code"] == 44
    assert answers["faces.delete_all"] == {"deleted": 1}


def test_a_picture_without_a_face_is_told_by_its_code(answers: Answers) -> None:
    for call in ("faces.add blank", "recognize blank"):
        assert answers[call] == {"message": "No face is found in the given image", "code": 28}


def test_a_person_is_recognized_with_everything_asked_for(answers: Answers) -> None:
    (face,) = answers["recognize"]["result"]

    assert [subject["subject"] for subject in face["subjects"]] == ["Alice", "Bob"]
    assert face["subjects"][0]["similarity"] > 0.9
    assert face["subjects"][1]["similarity"] < 0.5
    assert len(face["landmarks"]) == 5
    assert len(face["embedding"]) == tiny_models.DIMENSION
    assert set(face["execution_time"]) == {"detector", "calculator"}
    assert set(answers["recognize"]["plugins_versions"]) == {"detector", "calculator"}
    (plain,) = answers["recognize with options"]["result"]
    assert set(plain) == {"box", "subjects"}
    assert len(plain["subjects"]) == 1


def test_a_face_is_compared_with_a_stored_example(answers: Answers) -> None:
    (same,) = answers["faces.verify"]["result"]
    (other,) = answers["faces.verify other"]["result"]

    assert same["subject"] == "Alice"
    assert same["similarity"] > 0.9
    assert other["similarity"] < 0.5


def test_faces_are_detected(answers: Answers) -> None:
    for call in ("detect", "detect with options"):
        (face,) = answers[call]["result"]
        assert set(face) >= {"box", "landmarks", "embedding", "execution_time"}


def test_two_pictures_are_compared(answers: Answers) -> None:
    (same,) = answers["verify"]["result"]
    (other,) = answers["verify other"]["result"]

    assert set(same) == {"source_image_face", "face_matches", "plugins_versions"}
    assert same["face_matches"][0]["similarity"] > 0.9
    assert other["face_matches"][0]["similarity"] < 0.5


def test_a_key_of_another_type_is_refused(answers: Answers) -> None:
    assert answers["wrong key"]["code"] == 10
