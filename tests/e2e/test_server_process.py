"""A real `knownface serve`: how it starts, stops and complains."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import tiny_models
from servers import SECONDS, Server, running_server, server_environment, tiny_settings

pytestmark = pytest.mark.e2e

RECOGNITION = "/api/v1/recognition"

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return tiny_settings(tmp_path_factory.mktemp("models"))


@pytest.fixture
def environment(tmp_path: Path, settings: dict[str, str]) -> dict[str, str]:
    return server_environment(tmp_path, settings)


@pytest.fixture
def start(tmp_path: Path, settings: dict[str, str]) -> Iterator[Start]:
    """Start servers on one data folder; one that the test leaves running has to stop well."""
    with ExitStack() as stack:
        yield lambda *flags: stack.enter_context(
            running_server(tmp_path, settings, *flags, fresh=True)
        )


def fails(environment: dict[str, str], folder: Path, *flags: str) -> tuple[int, str, str]:
    """Start a server that must not come up; return its exit code, its output and its complaint."""
    done = subprocess.run(
        [sys.executable, "-m", "knownface", "serve", *flags],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.usefixtures("measured")
def test_the_first_start_prints_a_key_of_each_type_and_later_ones_none(start: Start) -> None:
    first = start()
    assert set(first.keys) == {"recognition", "detection", "verification"}
    for kind, call in (("recognition", "subjects"), ("detection", "nothing")):
        with first.client(first.keys[kind]) as client:
            assert client.get("/readyz").status_code == 200
            answer = client.get(f"/api/v1/{kind}/{call}")
            assert answer.json().get("code") != 10, answer.text
    assert first.stop() == 0

    second = start()
    assert second.keys == {}
    with second.client(first.keys["recognition"]) as client:
        assert client.get(f"{RECOGNITION}/subjects").json() == {"subjects": []}


def test_every_log_line_is_json_and_holds_no_key(start: Start) -> None:
    server = start("--log-level", "debug")
    key = server.keys["recognition"]
    with server.client(key) as client:
        client.post(
            f"{RECOGNITION}/faces?subject=Ada%20Lovelace",
            files={"file": tiny_models.portrait(1)},
        ).raise_for_status()
        client.get(f"/api/v1/static/{key}/images/00000000-0000-4000-8000-000000000000")
        client.get(f"{RECOGNITION}/subjects", headers={"x-api-key": "0" * 36})
    assert server.stop() == 0
    log = server.log.read_text()
    assert [json.loads(line)["level"] for line in log.splitlines()]
    assert key not in log
    assert "Lovelace" not in log


def test_a_service_made_beside_the_server_works_at_once(server: Server) -> None:
    with server.client(server.create_service("recognition", "door")) as client:
        assert client.get(f"{RECOGNITION}/subjects").status_code == 200


def upload(server: Server, picture: bytes) -> tuple[socket.socket, bytes]:
    """Begin a detection and return its connection once the server waits for the picture."""
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        + picture
        + b"\r\n--edge--\r\n"
    )
    head = (
        "POST /api/v1/detection/detect HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"x-api-key: {server.keys['detection']}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    )
    host, port = server.address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), SECONDS)
    connection.sendall(head.encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
    return connection, body


def wait_until_refused(server: Server) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), SECONDS).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # it closed its listener between our two packets
            continue
    raise AssertionError("the server still takes connections")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_server_refuses_new_requests_and_finishes_the_running_one(
    start: Start, number: signal.Signals
) -> None:
    server = start()
    connection, body = upload(server, tiny_models.portrait(1))
    with connection:
        server.process.send_signal(number)
        wait_until_refused(server)
        assert server.process.poll() is None
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"probability"' in answer
    assert server.process.wait(SECONDS) == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.usefixtures("measured")
def test_a_taken_port_is_one_clear_line(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output, complaint = fails(environment, tmp_path, "--port", str(port))
    assert code == 1
    assert output == ""
    assert complaint == (
        f"Error: Port {port} is taken by another program. "
        "Choose another with --port or KNOWNFACE_PORT, or stop that program.\n"
    )


def test_an_unknown_setting_is_one_clear_line(environment: dict[str, str], tmp_path: Path) -> None:
    code, output, complaint = fails(environment | {"KNOWNFACE_PROT": "1"}, tmp_path)
    assert code == 2
    assert output == ""
    assert complaint == (
        "Error: Unknown setting KNOWNFACE_PROT in the environment. Did you mean KNOWNFACE_PORT?\n"
    )
    assert not (tmp_path / "data").exists()


def test_missing_models_are_one_clear_line_and_no_key_is_lost(
    environment: dict[str, str], tmp_path: Path, start: Start
) -> None:
    broken = environment | {"KNOWNFACE_MODELS_DIR": str(tmp_path), "KNOWNFACE_EMBEDDER": "sface"}
    broken["KNOWNFACE_DETECTOR"] = "yunet"
    code, output, complaint = fails(broken, tmp_path, "--log-level", "critical")
    assert code == 1
    assert output == ""
    assert complaint.count("\n") == 1
    assert "knownface models install" in complaint
    assert len(start().keys) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="the lock of an installation is POSIX")
@pytest.mark.usefixtures("measured")
def test_a_server_that_waits_for_its_models_can_be_stopped(
    environment: dict[str, str], tmp_path: Path
) -> None:
    import fcntl

    empty = {"KNOWNFACE_MODELS_DIR": str(tmp_path), "KNOWNFACE_OFFLINE": "false"}
    defaults = {"KNOWNFACE_DETECTOR": "yunet", "KNOWNFACE_EMBEDDER": "sface"}
    with (tmp_path / ".install.lock").open("ab") as another:
        fcntl.flock(another, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [sys.executable, "-m", "knownface", "serve"],
            stderr=subprocess.PIPE,
            text=True,
            env=environment | empty | defaults,
            cwd=tmp_path,
        )
        assert process.stderr
        assert any("wait for another installation" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in rest
