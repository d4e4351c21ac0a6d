"""Every failure has one shape, whatever went wrong and wherever."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Query
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

import tiny_models
from api.calls import RECOGNITION, Caller, failed
from knownface.errors import ModelUnavailable

ANN = tiny_models.portrait(1)
ID = "0f9d3a52-6c1b-4e7a-9d44-2b8e5f70c316"
GUARDED = [
    ("POST", f"{RECOGNITION}/subjects", "Recognition"),
    ("GET", f"{RECOGNITION}/subjects", "Recognition"),
    ("PUT", f"{RECOGNITION}/subjects/x", "Recognition"),
    ("DELETE", f"{RECOGNITION}/subjects/x", "Recognition"),
    ("DELETE", f"{RECOGNITION}/subjects", "Recognition"),
    ("POST", f"{RECOGNITION}/faces", "Recognition"),
    ("GET", f"{RECOGNITION}/faces", "Recognition"),
    ("DELETE", f"{RECOGNITION}/faces", "Recognition"),
    ("DELETE", f"{RECOGNITION}/faces/x", "Recognition"),
    ("POST", f"{RECOGNITION}/faces/delete", "Recognition"),
    ("POST", f"{RECOGNITION}/faces/batch", "Recognition"),
    ("GET", f"{RECOGNITION}/faces/batch", "Recognition"),
    ("GET", f"{RECOGNITION}/faces/x/img", "Recognition"),
    ("POST", f"{RECOGNITION}/faces/x/verify", "Recognition"),
    ("POST", f"{RECOGNITION}/recognize", "Recognition"),
    ("POST", f"{RECOGNITION}/embeddings/recognize", "Recognition"),
    ("POST", f"{RECOGNITION}/embeddings/faces/x/verify", "Recognition"),
    ("POST", "/api/v1/detection/detect", "Detection"),
    ("POST", "/api/v1/verification/verify", "Verification"),
    ("POST", "/api/v1/verification/embeddings/verify", "Verification"),
]
JSON_ENDPOINTS = [
    ("POST", f"{RECOGNITION}/subjects"),
    ("PUT", f"{RECOGNITION}/subjects/x"),
    ("POST", f"{RECOGNITION}/faces/delete"),
    ("POST", f"{RECOGNITION}/embeddings/recognize"),
    ("POST", f"{RECOGNITION}/embeddings/faces/{ID}/verify"),
]
PICTURE_ENDPOINTS = [
    f"{RECOGNITION}/faces?subject=Ann",
    f"{RECOGNITION}/recognize",
    f"{RECOGNITION}/faces/{ID}/verify",
]


def test_every_guarded_route_is_among_these(server: FastAPI) -> None:
    described = {
        (method.upper(), path)
        for path, methods in server.openapi()["paths"].items()
        for method, operation in methods.items()
        if operation.get("security") and not path.startswith("/admin")  # these take no key
    }
    assert len(described) == len(GUARDED)


# Keys come first


@pytest.mark.parametrize(("method", "path", "kind"), GUARDED)
def test_the_key_is_checked_before_anything_else(
    client: TestClient, recognition: Caller, detection: Caller, method: str, path: str, kind: str
) -> None:
    body: dict[str, Any] = {"content": b"\x00", "headers": {"content-type": "text/plain"}}
    missing = client.request(method, path, **body)
    assert failed(missing) == (400, 20)
    assert missing.json()["message"] == "Missing header: x-api-key"
    for key in ("", "x", ID.replace("-", ""), f"{ID}x", f"{{{ID[2:]}}}"):
        answer = client.request(
            method, path, content=b"", headers={"X-Api-Key": key, "content-type": "x/y"}
        )
        assert failed(answer) == (400, 26)
        assert answer.json()["message"] == "Service API key should be UUID"
    other = detection if kind == "Recognition" else recognition
    for key in (ID, other.key):
        answer = client.request(method, path, headers={"x-api-key": key})
        assert failed(answer) == (404, 10)
        assert answer.json()["message"] == f"{kind} service with API Key {key} not found"


# Bodies


@pytest.mark.parametrize("path", PICTURE_ENDPOINTS)
@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "image/png",
    ],
)
def test_a_picture_in_another_content_type_is_415(
    recognition: Caller, path: str, content_type: str
) -> None:
    answer = recognition.post(path, content=ANN, headers={"content-type": content_type})
    assert failed(answer) == (415, 0)


@pytest.mark.parametrize(("method", "path"), JSON_ENDPOINTS)
@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_json_in_another_content_type_is_415(
    recognition: Caller, method: str, path: str, content_type: str
) -> None:
    answer = recognition(method, path, content=b"{}", headers={"content-type": content_type})
    assert failed(answer) == (415, 0)


@pytest.mark.parametrize(("method", "path"), JSON_ENDPOINTS)
@pytest.mark.parametrize("body", ["", "{", "nul", "\xff", "[NaN]"])
def test_malformed_json_is_400(recognition: Caller, method: str, path: str, body: str) -> None:
    answer = recognition(
        method, path, content=body.encode("latin-1"), headers={"content-type": "application/json"}
    )
    assert failed(answer) == (400, 26)


@pytest.mark.parametrize("path", PICTURE_ENDPOINTS)
def test_a_picture_that_is_missing_is_named(recognition: Caller, path: str) -> None:
    for answer in (
        recognition.post(path, files={"image": ("a.png", ANN)}),
        recognition.post(path, files={"file": (None, ANN)}),
        recognition.post(path, files={"file": (None, "text")}),
        recognition.post(path, files={"other": (None, "text")}),
    ):
        assert failed(answer) == (400, 34)
        assert answer.json()["message"] == "Required part file is missing"
    for body in ({}, {"file": None}, {"file": ""}):
        answer = recognition.post(path, json=body)
        assert failed(answer) == (400, 5)
        assert answer.json()["message"] == "Field file cannot be empty"


def test_of_two_pictures_the_first_that_is_missing_is_named(verification: Caller) -> None:
    path = "/api/v1/verification/verify"
    answer = verification.post(path, files={"target_image": ("a.png", ANN)})
    assert answer.json() == {"message": "Required part source_image is missing", "code": 34}
    answer = verification.post(path, files={"source_image": ("a.png", ANN)})
    assert answer.json() == {"message": "Required part target_image is missing", "code": 34}
    answer = verification.post(path, json={"source_image": "eA=="})
    assert answer.json() == {"message": "Field target_image cannot be empty", "code": 5}


@pytest.mark.parametrize("path", PICTURE_ENDPOINTS)
@pytest.mark.parametrize("document", [[], "x", 1, None, {"file": 1}, {"file": ["x"]}])
def test_a_json_body_of_another_shape_is_400(recognition: Caller, path: str, document: Any) -> None:
    answer = recognition.post(
        path, content=json.dumps(document), headers={"content-type": "application/json"}
    )
    assert failed(answer) == (400, 26)


@pytest.mark.parametrize("path", PICTURE_ENDPOINTS)
def test_text_that_is_not_base64_is_21(recognition: Caller, path: str) -> None:
    answer = recognition.post(path, json={"file": "not base64!"})
    assert failed(answer) == (400, 21)
    assert answer.json()["message"] == "Provided value is not Base64"


@pytest.mark.parametrize("path", PICTURE_ENDPOINTS)
def test_what_is_no_picture_is_21(recognition: Caller, path: str) -> None:
    for send in (recognition.send, recognition.send_json):
        assert failed(send(path, b"no picture at all")) == (400, 21)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--X\r\n\r\n"),
        ("multipart/form-data; boundary=X", b"garbage"),
        ("multipart/form-data; boundary=X", b""),
        ("multipart/form-data; boundary=X", b'--X\r\nContent-Disposition: form-data; name="file"'),
    ],
)
def test_a_malformed_form_is_400(recognition: Caller, content_type: str, body: bytes) -> None:
    answer = recognition.post(
        f"{RECOGNITION}/recognize", content=body, headers={"content-type": content_type}
    )
    assert failed(answer) == (400, 26)


def test_a_subject_in_another_encoding_is_400(recognition: Caller) -> None:
    answer = recognition.post(
        f"{RECOGNITION}/faces",
        files={"file": ("a.png", ANN), "subject": (None, "Zoë".encode("latin-1"))},
    )
    assert failed(answer) == (400, 26)
    assert "subject" in answer.json()["message"]


# Routes


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1/foo", f"{RECOGNITION}/foo", "/actuator/health", "/%FF", "//", "/admin"],
)
def test_an_unknown_path_is_404(recognition: Caller, path: str) -> None:
    assert failed(recognition.get(path)) == (404, 0)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", f"{RECOGNITION}/recognize", "POST"),
        ("PATCH", f"{RECOGNITION}/subjects", "DELETE, GET, POST"),
        ("POST", "/healthz", "GET"),
    ],
)
def test_another_method_is_405_and_says_which_are_allowed(
    recognition: Caller, method: str, path: str, allowed: str
) -> None:
    answer = recognition(method, path)
    assert failed(answer) == (405, 0)
    assert answer.json()["message"] == f"Request method '{method}' not supported"
    assert answer.headers["allow"] == allowed


# The unforeseen


def test_the_unforeseen_is_500_with_an_id_and_without_a_word_more(
    server: FastAPI, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    @server.get("/test/broken")
    async def broken() -> None:
        raise ValueError("secret Ann")

    answer = client.get("/test/broken", headers={"x-request-id": "abc-1"})
    assert failed(answer) == (500, 41)
    assert "abc-1" in answer.json()["message"]
    assert "secret" not in answer.text
    assert "ValueError" not in answer.text
    record = next(one for one in caplog.records if one.message == "unforeseen error")
    assert record.exc_info
    assert isinstance(record.exc_info[1], ValueError)


def test_what_breaks_in_the_middle_of_an_answer_breaks_the_answer_off(
    server: FastAPI, client: TestClient
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        raise ValueError("the other half")

    @server.get("/test/half")
    async def half() -> StreamingResponse:
        return StreamingResponse(pieces())

    with pytest.raises(ValueError, match="the other half"):
        client.get("/test/half")


def test_errors_of_ours_keep_their_status_and_say_when_to_come_back(
    server: FastAPI, client: TestClient
) -> None:
    @server.get("/test/unavailable")
    async def unavailable() -> None:
        raise ModelUnavailable("The model is away")

    answer = client.get("/test/unavailable")
    assert failed(answer) == (503, 41)
    assert answer.json()["message"] == "The model is away"
    assert answer.headers["retry-after"] == "1"


def test_the_frameworks_own_errors_take_the_same_shape(server: FastAPI, client: TestClient) -> None:
    @server.get("/test/validated")
    async def validated(count: int, name: str = Query(min_length=2)) -> None:
        del count, name

    @server.get("/test/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "I am a teapot")

    assert failed(client.get("/test/validated?name=ab")) == (400, 33)
    wrong = client.get("/test/validated?count=x&name=ab")
    assert failed(wrong) == (400, 26)
    assert wrong.json()["message"].startswith("count")
    assert failed(client.get("/test/teapot")) == (418, 0)
