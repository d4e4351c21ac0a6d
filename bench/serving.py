"""A real server process with a filled collection, and clients that cost next to nothing.

The clients share the machine with the server, so they send prepared bytes over kept connections
and look at nothing but the status and the length of the answer.
"""

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

import numpy as np

from knownface.accounts import key_digest
from knownface.store import Store
from knownface.types import F32, Embedding, ServiceType

MODEL, DIMENSION = "sface", 128
START_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A running server: its process, its port and the key of its recognition service."""

    process: subprocess.Popen[bytes]
    port: int
    key: str
    ready_seconds: float

    def memory(self, kind: str = "VmRSS") -> int:
        """Return its resident bytes now."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(kind))

    def request(self, jpeg: bytes, path: str = "/api/v1/recognition/recognize") -> bytes:
        """Return the bytes of a POST that sends a picture as a form."""
        mark = "knownface-bench"
        body = (
            f"--{mark}\r\nContent-Disposition: form-data; name=file; filename=a.jpg\r\n\r\n"
        ).encode() + jpeg
        body += f"\r\n--{mark}--\r\n".encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {self.key}\r\n"
            f"Content-Type: multipart/form-data; boundary={mark}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Client:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, request: bytes) -> float:
        """Send a request, wait for its whole answer, and return the seconds that took."""
        started = time.perf_counter()
        self._socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length, head
        missing = int(length[1]) - len(body)
        while missing > 0:
            missing -= len(self._more())
        took = time.perf_counter() - started
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"the server answered {head.splitlines()[0]!r} {body[:200]!r}")
        return took

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data


@contextmanager
def serving(data: Path, models: Path, key: str = "", **settings: str) -> Iterator[Server]:
    """Start a server on a data folder, wait until it is ready, and stop it in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "KNOWNFACE_DATA": str(data),
        "KNOWNFACE_MODELS_DIR": str(models),
        "KNOWNFACE_OFFLINE": "true",
        "KNOWNFACE_HOST": "127.0.0.1",
        "KNOWNFACE_PORT": str(port),
        "KNOWNFACE_LOG_LEVEL": "warning",
        **{f"KNOWNFACE_{name.upper()}": value for name, value in settings.items()},
    }
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "knownface", "serve"],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(process, port)
        yield Server(process, port, key, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def filled(data: Path, subjects: int, seed: int = 1) -> str:
    """Make a recognition service of that many subjects with a face each; return its key."""
    data.mkdir(parents=True, exist_ok=True)
    key = str(uuid4())
    store = Store.open(f"sqlite:///{data / 'knownface.db'}")
    try:
        with store.begin() as tx:
            application = tx.create_application("bench")
            service = tx.create_service(
                application, "bench", ServiceType.RECOGNITION, key_digest(key)
            )
        vectors = strangers(subjects, seed)
        for start in range(0, subjects, 1000):
            with store.begin() as tx:
                for number in range(start, min(subjects, start + 1000)):
                    face = Embedding(vectors[number], MODEL)
                    tx.add_example(service.id, f"subject {number}", face, None)
    finally:
        store.close()
    return key


def strangers(count: int, seed: int) -> F32:
    """Return random unit vectors."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION), np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def closed_loop(
    port: int, request: bytes, clients: int, seconds: float
) -> tuple[float, list[float]]:
    """Let clients send one request after the other; return requests a second, and their times."""
    times: list[list[float]] = [[] for _ in range(clients)]
    over = time.perf_counter() + seconds

    def live(mine: list[float]) -> None:
        with Client(port) as client:
            while time.perf_counter() < over:
                mine.append(client.send(request))

    started = time.perf_counter()
    threads = [threading.Thread(target=live, args=(mine,)) for mine in times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    everything = [one for mine in times for one in mine]
    return len(everything) / took, everything


def open_loop(
    port: int, request: bytes, rate: float, seconds: float, seed: int, clients: int = 32
) -> list[float]:
    """Send requests at random moments, `rate` a second on average, whatever the answers do.

    Returns the seconds from the moment each was due to its answer: a request that had to wait for a
    free client waited all the same.
    """
    random = np.random.default_rng(seed)
    due = np.cumsum(random.exponential(1 / rate, int(rate * seconds)))
    times: list[float] = []
    lock, following = threading.Lock(), iter(due.tolist())
    began = time.perf_counter() + 0.1

    def live() -> None:
        with Client(port) as client:
            while True:
                with lock:
                    moment = next(following, None)
                if moment is None:
                    return
                time.sleep(max(0.0, began + moment - time.perf_counter()))
                client.send(request)
                times.append(time.perf_counter() - began - moment)

    threads = [threading.Thread(target=live) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def percentile(times: Sequence[float], share: float) -> float:
    return float(np.percentile(times, 100 * share))


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    over = time.perf_counter() + START_SECONDS
    while time.perf_counter() < over:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
                probe.sendall(
                    b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                )
                answer = b"".join(iter(lambda: probe.recv(1 << 16), b""))
            if answer.startswith(b"HTTP/1.1 200 "):
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == "ready"
                return
        except OSError:
            pass
        time.sleep(0.01)
    raise RuntimeError(f"the server was not ready within {START_SECONDS:.0f} s")
