"""Real server processes for tests: `knownface serve` on small networks or the real weights."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import processes
import tiny_models

SECONDS = 60
Running = subprocess.Popen[str] | processes.Forked
_KEY = re.compile(r"(?:recognition|detection|verification) +(\w+) +([0-9a-f-]{36})")


@dataclass
class Server:
    """A running server, what it said on its standard output when it started, and its log."""

    process: Running
    lines: list[str]
    environment: Mapping[str, str]
    log: Path

    @property
    def address(self) -> str:
        found = re.search(r"http://[\w.:]+", self.lines[0])
        assert found, self.lines
        return found[0]

    @property
    def keys(self) -> dict[str, str]:
        """The keys that it printed, by type: on the first start in a data folder only."""
        return {found[1]: found[2] for line in self.lines if (found := _KEY.search(line))}

    def create_service(self, kind: str, name: str | None = None, *, key: str | None = None) -> str:
        """Make a service as an operator does, beside the running server; return its key."""
        words = ["service", "create", "--json", "--type", kind, "--name", name or f"test {kind}"]
        if key:
            words += ["--key", key]
        made = processes.run(tuple(words), self.log.parent, self.environment, SECONDS)
        made.check_returncode()
        return str(json.loads(made.stdout)["api_key"])

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers={"x-api-key": key}, timeout=SECONDS)

    def stop(self) -> int:
        """Ask it to stop, wait until it has, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        """End it at once, as a lost machine or an empty memory does."""
        self.process.kill()
        self.process.wait(SECONDS)


def tiny_settings(folder: Path) -> dict[str, str]:
    """Return settings for the small networks, which are written into the folder."""
    models = folder / "tiny-models"
    if not models.exists():
        tiny_models.write_models(models)
    return {
        "KNOWNFACE_MODELS_DIR": str(models),
        "KNOWNFACE_DETECTOR": tiny_models.DETECTOR,
        "KNOWNFACE_EMBEDDER": tiny_models.EMBEDDER,
    }


def real_settings() -> dict[str, str]:
    """Return settings for the default weights, or skip: somebody ran pytest without make."""
    models = os.environ.get("KNOWNFACE_TEST_MODELS")
    if not models:
        pytest.skip("no weights: `make test` installs them and sets KNOWNFACE_TEST_MODELS")
    return {"KNOWNFACE_MODELS_DIR": models}


def portraits_folder() -> Path:
    """Return the folder of openly licensed portraits, or skip."""
    folder = os.environ.get("KNOWNFACE_TEST_PORTRAITS")
    if not folder:
        pytest.skip("no portraits: `make test` fetches them and sets KNOWNFACE_TEST_PORTRAITS")
    return Path(folder)


def server_environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment of these settings alone, with the data in `folder`."""
    kept = {n: v for n, v in os.environ.items() if not n.upper().startswith("KNOWNFACE")}
    return kept | {
        "KNOWNFACE_DATA": str(folder / "data"),
        "KNOWNFACE_HOST": "127.0.0.1",
        "KNOWNFACE_PORT": "0",
        "KNOWNFACE_OFFLINE": "true",
        "OMP_NUM_THREADS": "1",
        **settings,
    }


@contextmanager
def starting_server(
    folder: Path, environment: Mapping[str, str], *flags: str, fresh: bool = False
) -> Iterator[tuple[Running, Path]]:
    """Start the process and yield it with its log, before it said a word; killed at the end.

    A `fresh` one is started as people start it, not forked from one that has imported the program.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"log-{time.monotonic_ns()}"
    words = ("serve", *flags)
    if not fresh:
        forked = processes.Forked(words, folder, environment, stderr=log)
        try:
            yield forked, log
        finally:
            forked.end()
        return
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "knownface", *words],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env=environment,
            cwd=folder,
        )
    try:
        yield process, log
    finally:
        process.kill()
        process.communicate()


@contextmanager
def running_server(
    folder: Path, settings: Mapping[str, str], *flags: str, fresh: bool = False
) -> Iterator[Server]:
    """Start a server on a data folder in `folder` and wait until it is ready.

    Afterwards, unless the test ended it, it has to stop in good order.
    """
    environment = server_environment(folder, settings)
    with starting_server(folder, environment, *flags, fresh=fresh) as (process, log):
        server = Server(process, _greeting(process, log), environment, log)
        yield server
        if process.poll() is None:
            assert server.stop() == 0, log.read_text()


def _greeting(process: Running, log: Path) -> list[str]:
    """Read to the last line of what it says; it says nothing before it listens."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ready."):
            return lines
    raise AssertionError(f"the server did not start: {log.read_text()}")
