"""On a real socket: what a test client cannot show of bodies, connections and paths."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

import tiny_models
from api.calls import RECOGNITION
from knownface.api.server import create_server
from knownface.app import build
from knownface.settings import Settings
from knownface.types import ServiceType

CONFIG = "/api/v1/config"
RECOGNIZE = f"{RECOGNITION}/recognize"


class Notifying(uvicorn.Server):
    """Says when it has started, so that nobody has to ask again and again."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextmanager
def listening(settings: Settings) -> Iterator[tuple[int, str]]:
    """Serve on a free port; gives the port and a recognition key."""
    with build(settings) as app, socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_server(app), log_config=None, access_log=False, ws="none")
        server = Notifying(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert server.up.wait(30)
            kind = ServiceType.RECOGNITION
            yield listener.getsockname()[1], app.accounts.create_service("tests", "r", kind)[1]
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[tuple[int, str]]:
    settings = Settings(
        data=tmp_path_factory.mktemp("live"),
        models_dir=models,
        detector=tiny_models.DETECTOR,
        embedder=tiny_models.EMBEDDER,
        slots=1,
        max_requests=2,
        offline=True,
    )
    with listening(settings) as served:
        yield served


def post(
    connection: http.client.HTTPConnection, size: int, *, key: str = "", chunked: bool = False
) -> tuple[int, object]:
    headers = {"content-type": "application/json", **({"x-api-key": key} if key else {})}
    body = (b"x" * 65536 for _ in range(size // 65536)) if chunked else b"x" * size
    connection.request("POST", RECOGNIZE, body, headers, encode_chunked=chunked)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())["code"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("megabytes", [11, 30])
def test_a_client_that_sends_too_much_gets_its_answer_and_may_go_on(
    address: tuple[int, str], megabytes: int, chunked: bool
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", address[0], timeout=30)
    for key, expected in ((address[1], (413, 0)), ("", (400, 20) if chunked else (413, 0))):
        if chunked:
            connection.close()  # its client sends no second chunked request on one connection
        assert post(connection, megabytes << 20, key=key, chunked=chunked) == expected
    connection.request("GET", CONFIG)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_wrong_key_is_told_before_the_body_is_read(address: tuple[int, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", address[0], timeout=30)
    assert post(connection, 9 << 20, key="x") == (400, 26)
    connection.close()


def test_clients_that_break_off_cost_no_permit(address: tuple[int, str]) -> None:
    head = (
        f"POST {RECOGNIZE} HTTP/1.1\r\nhost: x\r\nx-api-key: {address[1]}\r\n"
        "content-type: application/json\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n"
    )
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", address[0]), timeout=30) as client:
            client.sendall(head.encode())
            # The server waits for the body: it holds a permit.
            assert client.recv(100).startswith(b"HTTP/1.1 100")
            client.sendall(b"{")
        # Gone, as the server is about to notice. Two of these could take both permits for good.
        assert 200 in (status_of(address[0]) for _ in range(1000))


def status_of(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", CONFIG)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("name", ["a/b", "ends/", "a;b", "100%", "Zoë"])
def test_names_survive_the_way_through_a_real_server(address: tuple[int, str], name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", address[0], timeout=30)
    headers = {"x-api-key": address[1], "content-type": "application/json"}
    body = json.dumps({"subject": name})
    connection.request("POST", f"{RECOGNITION}/subjects", body, headers)
    created = connection.getresponse()
    assert (created.status, json.loads(created.read())) == (201, {"subject": name})
    encoded = "".join(f"%{byte:02x}" for byte in name.encode())
    connection.request("DELETE", f"{RECOGNITION}/subjects/{encoded}/", headers=headers)
    deleted = connection.getresponse()
    assert (deleted.status, json.loads(deleted.read())) == (200, {"subject": name})
    connection.close()


def test_head_has_the_headers_of_get_and_no_body(address: tuple[int, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", address[0], timeout=30)
    for _ in range(2):  # a stray body would break the second
        connection.request("HEAD", CONFIG)
        answer = connection.getresponse()
        assert answer.status == 200
        assert int(answer.headers["content-length"]) > 0
        assert answer.read() == b""
    connection.close()
