"""What CompreFace's other clients send, byte for byte where a library would repair it.

The official clients have tests of their own: test_official_sdk.py (Python), test_dotnet_client.py.
"""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import pytest

import tiny_models
from sending import (
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
    parts,
    refused,
    send,
)
from servers import Server

pytestmark = pytest.mark.e2e

NIL = UUID(int=0)


# JavaScript, in a browser


@pytest.mark.parametrize("origin", ["http://localhost", "https://door.example:3000", "null"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_browser_may_send_a_key_from_any_page(server: Server, origin: str, method: str) -> None:
    asked: dict[str, Any] = {"origin": origin, "access_control_request_method": method}
    asked["access_control_request_headers"] = "content-type,x-api-key"

    answer = send(server, "OPTIONS", f"{FACES}?subject=Ada", key="", **asked)

    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    allowed = answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    assert {"content-type", "x-api-key"} <= set(allowed)


@pytest.mark.parametrize("key", ["recognition", "detection", ""])
def test_a_browser_may_read_answers_and_failures(server: Server, key: str) -> None:
    answer = send(server, "GET", SUBJECTS, key=key, origin="null")
    assert answer.status == {"recognition": 200, "detection": 404, "": 400}[key]
    assert answer.headers["access-control-allow-origin"] == "*"


def test_javascript_sends_base64_in_json(recognition: httpx.Client, server: Server) -> None:
    body = json.dumps({"file": base64.b64encode(ONE_FACE).decode()}).encode()
    kind = {"content_type": "application/json;charset=utf-8"}
    added = send(server, "POST", f"{FACES}?subject=Ada%20L", body, **kind)
    assert added.status == 201, added.content

    found = send(server, "POST", f"{RECOGNIZE}?limit=0&prediction_count=1", body, **kind)

    assert found.json()["result"][0]["subjects"][0]["subject"] == "Ada L"
    assert recognition.get(SUBJECTS).json() == {"subjects": ["Ada L"]}


def test_javascript_without_limit_writes_a_second_question_mark(
    recognition: httpx.Client, server: Server
) -> None:
    upload = parts(("file", ONE_FACE))
    added = send(server, "POST", f"{FACES}?subject=bob?det_prob_threshold=0.8", **upload)
    assert added.status == 201
    assert added.json()["subject"] == "bob?det_prob_threshold=0.8"

    target = f"{DETECT}?det_prob_threshold=0.8?face_plugins=age"
    answer = send(server, "POST", target, key="detection", **upload)
    assert refused(answer) == (400, 26)
    assert "det_prob_threshold" in answer.json()["message"]
    assert recognition.get(FACES).json()["total_elements"] == 1


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", f"{FACES}/{NIL}/verify&det_prob_threshold=0.8", (404, 0)),
        ("POST", f"{FACES}/{NIL}/verify?limit=0/{NIL}/verify?limit=0", (400, 26)),
        ("DELETE", f"{FACES}/{NIL}/{NIL}", (404, 0)),
        ("DELETE", f"{FACES}/{NIL}?subject=bob", (404, 44)),
        ("PUT", f"{SUBJECTS}/Ada/Bob", (404, 0)),
        ("DELETE", f"{SUBJECTS}/Ada/Bob", (404, 0)),
    ],
)
def test_javascript_uses_one_object_twice_and_lands_on_a_wrong_path(
    recognition: httpx.Client, server: Server, method: str, path: str, expected: tuple[int, int]
) -> None:
    add(recognition, "bob")
    assert refused(send(server, method, path, **parts(("file", ONE_FACE)))) == expected
    assert recognition.get(FACES).json()["total_elements"] == 1


def test_javascript_in_node_forgets_the_boundary(server: Server) -> None:
    body = parts(("file", ONE_FACE))["body"]
    answer = send(server, "POST", RECOGNIZE, body, content_type="multipart/form-data")
    assert refused(answer) == (400, 26)
    assert "boundary" in answer.json()["message"]


def test_a_page_from_a_file_adds_and_recognizes_with_slashes(
    recognition: httpx.Client, server: Server
) -> None:
    upload = parts(("file", ONE_FACE))
    added = send(server, "POST", f"{FACES}/?subject=Zo%C3%AB%20%26%20Co", origin="null", **upload)
    assert added.json()["subject"] == "Zoë & Co"
    assert added.headers["access-control-allow-origin"] == "*"

    found = send(server, "POST", f"{RECOGNIZE}/", origin="null", **upload)

    assert found.json()["result"][0]["subjects"] == [{"subject": "Zoë & Co", "similarity": 1.0}]
    assert recognition.delete(f"{FACES}/", params={"subject": "Zoë & Co"}).json() == {"deleted": 1}


# double-take


def double_take(answer: httpx.Response) -> list[tuple[str, float, int]]:
    """Read an answer as double-take does, whatever its status: name, confidence, width."""
    data = answer.json()
    if data.get("code") == 28:
        return []
    faces = []
    for face in data["result"]:
        best = next(iter(face["subjects"]), None)
        confidence = round(best["similarity"] * 100, 2) if best else 0
        name = best["subject"].lower() if best and confidence >= 40 else "unknown"
        faces.append((name, confidence, face["box"]["x_max"] - face["box"]["x_min"]))
    return faces


@pytest.mark.parametrize("plugins", ["", "&face_plugins=", "&face_plugins=undefined"])
def test_double_take_trains_recognizes_and_removes(recognition: httpx.Client, plugins: str) -> None:
    call = f"{RECOGNIZE}?det_prob_threshold=0.8{plugins}"
    files = {"file": ("cam.jpg", ONE_FACE)}
    assert double_take(recognition.post(call, files=files)) == [("unknown", 0, 128)]
    trained = recognition.post(f"{FACES}?{urlencode({'subject': 'Ada L'})}", files=files)
    assert trained.status_code == 201

    assert double_take(recognition.post(call, files=files)) == [("ada l", 100.0, 128)]
    stranger = recognition.post(call, files={"file": ("cam.jpg", OTHER_FACE)})
    assert double_take(stranger)[0][0] == "unknown"
    assert double_take(recognition.post(call, files={"file": ("cam.jpg", NO_FACE)})) == []
    assert recognition.delete(f"{FACES}?subject=Ada+L").json() == {"deleted": 1}
    assert recognition.delete(f"{FACES}?subject=Ada+L").json() == {"deleted": 0}


# Python: the client itself is driven in test_official_sdk.py


def test_python_begins_its_query_with_an_ampersand(
    recognition: httpx.Client, server: Server
) -> None:
    add(recognition, "Ada")
    options = "&limit=0&det_prob_threshold=0.8&prediction_count=1"
    options += "&face_plugins=calculator,age,gender,landmarks,mask&status=True"
    answer = send(server, "POST", f"{RECOGNIZE}?{options}", **parts(("file", ONE_FACE)))
    (face,) = answer.json()["result"]
    assert {"landmarks", "embedding", "execution_time"} <= set(face)
    assert send(server, "POST", f"{RECOGNIZE}?", **parts(("file", ONE_FACE))).status == 200


# The load tests and the old web pages


def test_load_tests_send_parameters_as_parts(recognition: httpx.Client, server: Server) -> None:
    for name, picture in (("Ada", ONE_FACE), ("Bob", OTHER_FACE)):
        sent = parts(("subject", name), ("file", picture))
        assert send(server, "POST", FACES, **sent).json()["subject"] == name
    both = tiny_models.group([1, 2], kind="JPEG")
    sent = parts(("file", both), ("limit", "1"), ("prediction_count", "2"))

    (face,) = send(server, "POST", RECOGNIZE, **sent).json()["result"]

    assert [subject["subject"] for subject in face["subjects"]] == ["Ada", "Bob"]
    wrong = parts(("file", both), ("limit", "-1"))
    assert refused(send(server, "POST", RECOGNIZE, **wrong)) == (400, 26)
    assert recognition.get(FACES).json()["total_elements"] == 2


def test_load_tests_verify_with_parameters_as_parts(server: Server) -> None:
    sent = parts(("source_image", ONE_FACE), ("target_image", TWO_FACES), ("limit", "1"))
    answer = send(server, "POST", VERIFY, key="verification", **sent)
    assert len(answer.json()["result"][0]["face_matches"]) == 1


def test_the_old_pages_repeat_a_parameter(server: Server) -> None:
    target = f"{DETECT}?face_plugins=landmarks&face_plugins=calculator"
    answer = send(server, "POST", target, key="detection", **parts(("file", ONE_FACE)))
    assert {"landmarks", "embedding"} <= set(answer.json()["result"][0])
