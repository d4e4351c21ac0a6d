"""Log lines: whose request, which route; never a key, a name or an embedding."""

from __future__ import annotations

import io
import json
import logging
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from fastapi import FastAPI

import tiny_models
from api.calls import RECOGNITION, Caller
from knownface.api.logs import configure_logging, redacted
from knownface.api.trail import request_id


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # the client's log, not the server's
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def access(stream: io.StringIO) -> list[dict[str, object]]:
    return [line for line in lines(stream) if line["logger"] == "knownface.access"]


def test_a_request_is_one_line_with_its_route(stream: io.StringIO, recognition: Caller) -> None:
    recognition.delete(f"{RECOGNITION}/subjects/Nobody?x=1", headers={"x-request-id": "abc"})
    (line,) = access(stream)
    assert line["route"] == f"{RECOGNITION}/subjects/{{subject}}"
    assert line["request_id"] == "abc"
    assert (line["method"], line["status"], line["level"]) == ("DELETE", 404, "info")
    assert isinstance(line["ms"], float)
    assert isinstance(line["service"], int)


def test_looking_at_the_health_fills_no_log(stream: io.StringIO, recognition: Caller) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert recognition.get(path).status_code == 200
    assert access(stream) == []


def test_no_line_holds_a_key_a_name_or_an_embedding(
    stream: io.StringIO, recognition: Caller, server: FastAPI
) -> None:
    name = "Ann-Kathrin Ünal"
    secrets = [recognition.key, name, quote(name), "Ann-Kathrin", "0.123456789"]

    @server.get("/test/broken/values")
    async def broken() -> None:
        raise ValueError(
            f"cannot use {name!r} of {recognition.key}: [0.123456789, 1]\nDETAIL: {name}"
        )

    image_id = recognition.enrol(name, 1)
    secrets.append(image_id)
    recognition.post(f"{RECOGNITION}/subjects", json={"subject": name})
    recognition.put(f"{RECOGNITION}/subjects/{quote(name)}x", json={"subject": name})
    recognition.get(f"{RECOGNITION}/faces", params={"subject": name})
    recognition.get(f"/api/v1/static/{recognition.key}/images/{image_id}")
    recognition.get(f"/api/v1/static/{recognition.key}/images/x")
    recognition.get(f"/nowhere/{recognition.key}/{quote(name)}?subject={quote(name)}")
    recognition.client.get(f"{RECOGNITION}/subjects", headers={"x-api-key": str(uuid.uuid4())})
    recognition.delete("/api/v1/config")
    recognition.send(f"{RECOGNITION}/recognize", tiny_models.portrait(1))
    recognition.send(f"{RECOGNITION}/recognize", b"broken")
    recognition.post(f"{RECOGNITION}/embeddings/recognize", json={"embeddings": [[0.123456789]]})
    recognition.get("/test/broken/values")
    recognition.delete(f"{RECOGNITION}/faces/{image_id}")
    text = stream.getvalue()
    assert [secret for secret in secrets if secret in text] == []
    assert len(access(stream)) == 14


def test_the_unforeseen_is_logged_with_its_traceback_under_its_request(
    stream: io.StringIO, server: FastAPI, recognition: Caller
) -> None:
    @server.get("/test/broken")
    async def broken() -> None:
        try:
            raise KeyError("inner Ann")
        except KeyError as error:
            raise ValueError("outer") from error

    recognition.get("/test/broken", headers={"x-request-id": "abc"})
    (line,) = [line for line in lines(stream) if line["level"] == "error"]
    assert line["request_id"] == "abc"
    trace = str(line["traceback"])
    assert trace.index("KeyError: …") < trace.index("ValueError: outer")
    assert "in broken" in trace


def test_a_line_written_in_a_worker_thread_names_its_request(
    stream: io.StringIO, server: FastAPI, recognition: Caller
) -> None:
    @server.get("/test/thread")
    def thread() -> None:
        logging.getLogger("test").warning("from a %s", "thread", extra={"model": "yunet"})

    recognition.get("/test/thread", headers={"x-request-id": "abc"})
    (line,) = [line for line in lines(stream) if line["logger"] == "test"]
    assert line["message"] == "from a thread"
    assert (line["request_id"], line["model"]) == ("abc", "yunet")
    assert request_id.get() is None


def test_people_can_have_text(stream: io.StringIO) -> None:
    text = io.StringIO()
    configure_logging("warning", "text", text)
    log = logging.getLogger("test")
    log.info("not this")
    log.warning("model ready", extra={"model": "yunet"})
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("failed")
    first, second, *trace = text.getvalue().splitlines()
    assert first.endswith("warning test model ready model=yunet")
    assert second.endswith("error test failed")
    assert trace[-1] == "ValueError: why"
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no such column", "no such column"),
        ("invalid literal: 'Ann'", "invalid literal: …"),
        ('Key "Ann" exists', "Key … exists"),
        ("unfinished 'Ann", "unfinished …"),
        ("duplicate key\nDETAIL: Key (name)=(Ann) exists", "duplicate key"),
        ("key 6b135f5b-a365-4522-b1f1-4c9ac2dd0728 is wrong", "key … is wrong"),
        ("array([0.1, 0.2])", "array(…)"),
        ("", ""),
        ("x" * 1000, "x" * 300),
    ],
)
def test_the_text_of_an_error_loses_its_values(text: str, shown: str) -> None:
    assert redacted(text) == shown
