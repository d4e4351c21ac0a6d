"""Callers: a client that holds the key of one service."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

import tiny_models
from knownface.api.server import create_server
from knownface.app import App, build
from knownface.settings import Settings
from knownface.types import ServiceType

RECOGNITION = "/api/v1/recognition"


@dataclass
class Caller:
    """A client that sends one key; paths are taken as they are, percent-encoding included."""

    client: TestClient
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, **request: Any) -> Response:
        headers = {"x-api-key": self.key, **self.headers, **request.pop("headers", {})}
        answer: Response = self.client.request(method, path, headers=headers, **request)
        return answer

    def get(self, path: str, **request: Any) -> Response:
        return self("GET", path, **request)

    def post(self, path: str, **request: Any) -> Response:
        return self("POST", path, **request)

    def put(self, path: str, **request: Any) -> Response:
        return self("PUT", path, **request)

    def delete(self, path: str, **request: Any) -> Response:
        return self("DELETE", path, **request)

    def send(self, path: str, picture: bytes, name: str = "file", **request: Any) -> Response:
        """Post a picture as a form."""
        return self.post(path, files={name: ("picture.png", picture)}, **request)

    def send_json(self, path: str, picture: bytes, name: str = "file", **request: Any) -> Response:
        """Post a picture as base64 in JSON."""
        return self.post(path, json={name: base64.b64encode(picture).decode()}, **request)

    def enrol(self, subject: str, identity: int) -> str:
        """Add an example of a painted person and return its image id."""
        answer = self.send(
            f"{RECOGNITION}/faces", tiny_models.portrait(identity), params={"subject": subject}
        )
        assert answer.status_code == 201, answer.text
        image_id: str = answer.json()["image_id"]
        return image_id


def new_caller(app: App, client: TestClient, kind: ServiceType) -> Caller:
    """Return a caller with the key of a new service."""
    return Caller(client, app.accounts.create_service("tests", uuid.uuid4().hex, kind)[1])


@contextmanager
def serving(settings: Settings, **changes: object) -> Iterator[tuple[App, TestClient]]:
    """Serve a program of one's own, with some settings changed."""
    with (
        build(settings.model_copy(update=changes)) as app,
        TestClient(create_server(app)) as client,
    ):
        yield app, client


def failed(answer: Response) -> tuple[int, int]:
    """Return status and code of an answer that has to be an error in the one shape there is."""
    body = answer.json()
    assert list(body) == ["message", "code"], body
    assert body["message"]
    return answer.status_code, body["code"]
