"""Importing into a server elsewhere: what its answers mean, and what is done without any."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from knownface.bulk.importing import Importer, Kind
from knownface.bulk.remote import RemoteEnrolment
from knownface.bulk.sources import Item
from knownface.errors import ConfigurationError, InvalidRequest, Unavailable

ID = "6b135f5b-a365-4522-b1f1-4c9ac2dd0728"
ADDED = (200, {"result": [{"image_id": ID, "subject": "Ann"}]})
BUSY = (503, {"message": "The server is busy.", "code": 0})
BROKEN_OFF = (0, None)


class Peer(ThreadingHTTPServer):
    """Gives the answers it was told to, one a request, and remembers what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answers: deque[tuple[int, Any]] = deque()
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.keys: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Peer

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        self.server.keys.append(self.headers["x-api-key"])
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        status, document = self.server.answers.popleft()
        if not status:
            self.close_connection = True
            return
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
        del format, args


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(peer: Peer) -> Iterator[RemoteEnrolment]:
    with closing(RemoteEnrolment(peer.address, "key", None, pauses=(0, 0))) as opened:
        yield opened


def test_a_picture_is_sent_with_its_subject_and_the_key(
    peer: Peer, remote: RemoteEnrolment
) -> None:
    peer.answers.append(ADDED)
    filed = remote.examine("Zoë", b"\x89PNG\r\n--x")
    assert filed.added
    assert str(filed.example.image_id) == ID
    assert peer.keys == ["key"]
    assert peer.paths == ["/api/v1/recognition/faces/batch?"]
    assert "\r\n\r\nZoë\r\n".encode() in peer.bodies[0]
    assert b"\r\n\r\n\x89PNG\r\n--x\r\n" in peer.bodies[0]


def test_the_address_may_have_a_path_and_the_threshold_is_sent_on(peer: Peer) -> None:
    peer.answers.append(ADDED)
    with closing(RemoteEnrolment(f"{peer.address}/faces/", "key", 0.6)) as remote:
        remote.examine("Ann", b"x")
    assert peer.paths == ["/faces/api/v1/recognition/faces/batch?det_prob_threshold=0.6"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ADDED, Kind.ADDED),
        ((200, {"result": [{**ADDED[1]["result"][0], "duplicate": True}]}), Kind.DUPLICATE),
        ((200, {"result": [{"message": "m", "code": 28}]}), Kind.NO_FACE),
        ((200, {"result": [{"message": "m", "code": 31}]}), Kind.SEVERAL_FACES),
        ((200, {"result": [{"message": "m", "code": 21}]}), Kind.UNREADABLE),
        ((200, {"result": [{"message": "m", "code": 26}]}), Kind.INVALID),
        ((200, {"result": [{"message": "m", "code": 0}]}), Kind.TOO_LARGE),
        ((413, {"message": "m", "code": 0}), Kind.TOO_LARGE),
    ],
)
def test_each_result_is_an_outcome(
    peer: Peer, remote: RemoteEnrolment, answer: tuple[int, Any], kind: Kind
) -> None:
    peer.answers.append(answer)
    importer = Importer(remote, jobs=1, max_file_size=100)
    (outcome,) = importer.run([Item("x", "Ann", lambda _: b"x")])
    assert outcome.kind is kind


@pytest.mark.parametrize(
    "failure",
    [BUSY, BROKEN_OFF, (500, b"<html>"), (200, {"result": [{"message": "late", "code": 41}]})],
    ids=["busy", "broken off", "no server of ours", "late"],
)
def test_what_may_go_better_is_tried_again(
    peer: Peer, remote: RemoteEnrolment, failure: tuple[int, Any]
) -> None:
    peer.answers.extend([failure, failure, ADDED])
    assert remote.examine("Ann", b"x").added
    peer.answers.extend([failure] * 3)
    with pytest.raises(Unavailable, match="does not answer"):
        remote.examine("Ann", b"x")


@pytest.mark.parametrize(
    "answer",
    [
        (404, {"message": "No service", "code": 10}),
        (409, {"message": "Another model", "code": 41}),
        (200, b"[]"),
        (200, {"result": [{"message": "strange", "code": 77}]}),
        (302, b""),
    ],
)
def test_what_goes_no_better_ends_the_import(
    peer: Peer, remote: RemoteEnrolment, answer: tuple[int, Any]
) -> None:
    peer.answers.append(answer)
    with pytest.raises(ConfigurationError, match="does not take"):
        remote.examine("Ann", b"x")


def test_a_server_that_is_not_there_is_told() -> None:
    with (
        closing(RemoteEnrolment("http://127.0.0.1:9", "key", None, pauses=())) as remote,
        pytest.raises(Unavailable, match="ConnectionRefused"),
    ):
        remote.examine("Ann", b"x")


def test_nobody_waits_for_a_server_once_all_is_over(peer: Peer) -> None:
    remote = RemoteEnrolment(peer.address, "key", None, pauses=(3600,))
    peer.answers.append(BUSY)
    remote.close()
    with pytest.raises(Unavailable):
        remote.examine("Ann", b"x")
    remote.close()


def test_a_name_that_cannot_be_one_is_not_sent(peer: Peer, remote: RemoteEnrolment) -> None:
    with pytest.raises(InvalidRequest):
        remote.examine("\udc80", b"x")
    assert peer.bodies == []


@pytest.mark.parametrize(
    "url", ["faces.example:8000", "ftp://x", "http://", "http://x:99999", "https://"]
)
def test_an_address_has_a_scheme_and_a_host(url: str) -> None:
    with pytest.raises(ConfigurationError, match="address"):
        RemoteEnrolment(url, "key", None)


def test_a_secure_address_is_spoken_to_securely(peer: Peer) -> None:
    secure = peer.address.replace("http:", "https:")
    with (
        closing(RemoteEnrolment(secure, "key", None, pauses=())) as remote,
        pytest.raises(Unavailable, match="SSL"),
    ):
        remote.examine("Ann", b"x")
