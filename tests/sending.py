"""Requests as clients send them, down to their slips, and what has to be true of each failure."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

import tiny_models
from servers import SECONDS, Server

API: Final = "/api/v1"
FACES: Final = f"{API}/recognition/faces"
SUBJECTS: Final = f"{API}/recognition/subjects"
BATCH: Final = f"{FACES}/batch"
RECOGNIZE: Final = f"{API}/recognition/recognize"
DETECT: Final = f"{API}/detection/detect"
VERIFY: Final = f"{API}/verification/verify"

ONE_FACE: Final = tiny_models.portrait(1, kind="JPEG")
OTHER_FACE: Final = tiny_models.portrait(2, kind="JPEG")
TWO_FACES: Final = tiny_models.group([3, 4], kind="JPEG")
NO_FACE: Final = tiny_models.blank()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


def form(**pictures: bytes) -> dict[str, Any]:
    """Return pictures as multipart files."""
    names = pictures.items()
    return {"files": {name: ("image.jpg", data, "image/jpeg") for name, data in names}}


def text(**pictures: bytes) -> dict[str, Any]:
    """Return pictures as base64 in JSON."""
    return {"json": {name: base64.b64encode(data).decode() for name, data in pictures.items()}}


def add(client: httpx.Client, subject: str, picture: bytes = ONE_FACE) -> str:
    answer = client.post(FACES, params={"subject": subject}, **text(file=picture))
    assert answer.status_code == 201, answer.text
    assert answer.json()["subject"] == subject
    return str(answer.json()["image_id"])


def refused(answer: httpx.Response | Answer) -> tuple[int, int]:
    """Return status and code of a failure, which has to be told in the one shape there is."""
    status = answer.status if isinstance(answer, Answer) else answer.status_code
    assert 400 <= status < 500, answer.content
    body = json.loads(answer.content)
    assert list(body) == ["message", "code"]
    assert body["message"]
    return status, body["code"]


def send(
    server: Server,
    method: str,
    target: str,
    body: bytes = b"",
    key: str = "recognition",
    **headers: str,
) -> Answer:
    """Send a request whose target and body stay as they are written here."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    keyed = {"x-api-key": server.keys[key], **names} if key else names
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=SECONDS)
    try:
        connection.request(method, target, body, keyed)
        answer = connection.getresponse()
        lower = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, lower, answer.read())
    finally:
        connection.close()


def parts(*fields: tuple[str, str | bytes]) -> dict[str, Any]:
    """Return the body that the load tests' script makes: every text has a content type."""
    boundary = "------RWWorkerFormDataBoundary0.5c2vx1"
    lines = []
    for name, value in fields:
        named = f'name="{name}"' + ('; filename="file.jpg"' if isinstance(value, bytes) else "")
        kind = "image/jpeg" if isinstance(value, bytes) else "text/plain"
        head = f"Content-Disposition: form-data; {named}\r\nContent-Type: {kind}\r\n\r\n"
        content = value if isinstance(value, bytes) else value.encode()
        lines.append(f"--{boundary}\r\n{head}".encode() + content + b"\r\n")
    body = b"".join(lines) + f"--{boundary}--\r\n".encode()
    return {"body": body, "content_type": f"multipart/form-data; boundary={boundary}"}
