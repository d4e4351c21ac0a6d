"""A real `knownface serve`: how it starts, stops, dies, and what is left of its writes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

import tiny_models

pytestmark = pytest.mark.e2e

SECONDS = 60
KEY = re.compile(r"(recognition|detection|verification) +\S* *([0-9a-f-]{36})")
RECOGNITION = "/api/v1/recognition"


@dataclass
class Server:
    """A server process, and what it said on its standard output so far."""

    process: subprocess.Popen[str]
    log: Path
    lines: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        found = re.search(r"http://[\w.:]+", self.lines[0])
        assert found
        return found[0]

    @property
    def keys(self) -> dict[str, str]:
        return {found[1]: found[2] for line in self.lines if (found := KEY.search(line))}

    def client(self, kind: str = "recognition", key: str | None = None) -> httpx.Client:
        headers = {"x-api-key": key or self.keys[kind]}
        return httpx.Client(base_url=self.address, headers=headers, timeout=SECONDS)

    def wait_until_ready(self) -> None:
        """Ask until it is ready; it says where it is only once it listens."""
        deadline = time.monotonic() + SECONDS
        while httpx.get(f"{self.address}/readyz", timeout=SECONDS).status_code != 200:
            assert time.monotonic() < deadline, self.log.read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.write_models(folder)
    return folder


@pytest.fixture
def environment(tmp_path: Path, models: Path) -> dict[str, str]:
    """Return an environment of nothing but what these tests set."""
    kept = {name: value for name, value in os.environ.items() if "KNOWNFACE" not in name}
    return kept | {
        "KNOWNFACE_DATA": str(tmp_path / "data"),
        "KNOWNFACE_MODELS_DIR": str(models),
        "KNOWNFACE_DETECTOR": tiny_models.DETECTOR,
        "KNOWNFACE_EMBEDDER": tiny_models.EMBEDDER,
        "KNOWNFACE_HOST": "127.0.0.1",
        "KNOWNFACE_PORT": "0",
        "KNOWNFACE_OFFLINE": "true",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a server and wait until it says all it has to say; killed at the end of the test."""
    servers: list[Server] = []

    def begin(*flags: str) -> Server:
        log = tmp_path / f"log-{len(servers)}"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "knownface", "serve", *flags],
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                env=environment,
                cwd=tmp_path,
            )
        server = Server(process, log)
        servers.append(server)
        assert process.stdout
        for line in process.stdout:
            server.lines.append(line)
            if line.startswith("Ready."):
                return server
        raise AssertionError(log.read_text())

    yield begin
    for server in servers:
        server.process.kill()
        server.process.communicate()


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


def test_the_first_start_prints_a_key_of_each_type_and_later_ones_none(start: Start) -> None:
    first = start()
    first.wait_until_ready()
    assert set(first.keys) == {"recognition", "detection", "verification"}
    for kind, call in (("recognition", "subjects"), ("detection", "nothing")):
        with first.client(kind) as client:
            answer = client.get(f"/api/v1/{kind}/{call}")
            assert answer.json().get("code") != 10, answer.text
    assert first.stop() == 0

    second = start()
    second.wait_until_ready()
    assert second.keys == {}
    with second.client(key=first.keys["recognition"]) as client:
        assert client.get(f"{RECOGNITION}/subjects").json() == {"subjects": []}


def test_every_log_line_is_json_and_holds_no_key(start: Start) -> None:
    server = start("--log-level", "debug")
    key = server.keys["recognition"]
    with server.client() as client:
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


def test_a_service_made_beside_the_server_works_at_once(
    start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    server = start()
    command = [sys.executable, "-m", "knownface", "service", "create", "--json"]
    command += ["--type", "recognition", "--name", "door"]
    made = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
    )
    with server.client(key=json.loads(made.stdout)["api_key"]) as client:
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


def test_a_killed_server_keeps_every_acknowledged_write(start: Start) -> None:
    server = start()
    keys = server.keys
    acknowledged: list[tuple[str, str]] = []
    enough = threading.Event()

    def enrol(worker: int) -> None:
        picture = tiny_models.portrait(worker)
        with server.client() as client:
            for number in range(1000):
                subject = f"{worker}-{number}"
                try:
                    answer = client.post(
                        f"{RECOGNITION}/faces?subject={subject}", files={"file": picture}
                    )
                except httpx.TransportError:
                    return  # it was killed
                assert answer.status_code == 201, answer.text
                acknowledged.append((subject, answer.json()["image_id"]))
                if len(acknowledged) >= 20:
                    enough.set()

    workers = [threading.Thread(target=enrol, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    assert enough.wait(SECONDS), server.log.read_text()
    server.process.kill()
    for worker in workers:
        worker.join(SECONDS)

    again = start()
    again.wait_until_ready()
    with again.client(key=keys["recognition"]) as client:
        listed = client.get(f"{RECOGNITION}/faces?size=2000").json()["faces"]
        stored = {(face["subject"], face["image_id"]) for face in listed}
        assert set(acknowledged) <= stored
        # A write under way at the kill may be there or not, but never by half: at most one a
        # worker, each with its subject and the photograph it was made from.
        assert len(stored) - len(acknowledged) <= len(workers)
        subjects = client.get(f"{RECOGNITION}/subjects").json()["subjects"]
        assert set(subjects) == {subject for subject, _ in stored}
        for subject, image_id in stored:
            photograph = client.get(f"{RECOGNITION}/faces/{image_id}/img").content
            assert photograph == tiny_models.portrait(int(subject.split("-")[0]))


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
