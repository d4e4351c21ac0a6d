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

import tiny_models

SECONDS = 60


@dataclass
class Server:
    """A running server, how to reach it, and how to make services for it."""

    process: subprocess.Popen[str]
    address: str
    environment: Mapping[str, str]
    log: Path

    def create_service(self, kind: str, name: str | None = None, *, key: str | None = None) -> str:
        """Make a service as an operator does, beside the running server; return its key."""
        made = subprocess.run(
            [sys.executable, "-m", "knownface", "service", "create", "--json"]
            + ["--type", kind, "--name", name or f"test {kind}"]
            + (["--key", key] if key else []),
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=SECONDS,
            check=True,
        )
        return str(json.loads(made.stdout)["api_key"])

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers={"x-api-key": key}, timeout=SECONDS)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def kill(self) -> None:
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


@contextmanager
def running_server(folder: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """Start a server on a data folder in `folder`, wait until it is ready, stop it afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {n: v for n, v in os.environ.items() if not n.upper().startswith("KNOWNFACE")}
    environment = kept | {
        "KNOWNFACE_DATA": str(folder / "data"),
        "KNOWNFACE_HOST": "127.0.0.1",
        "KNOWNFACE_PORT": "0",
        "KNOWNFACE_OFFLINE": "true",
        **settings,
    }
    log = folder / f"log-{time.monotonic_ns()}"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "knownface", "serve"],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env=environment,
            cwd=folder,
        )
    try:
        yield Server(process, _address(process, log), environment, log)
    finally:
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Read the greeting to its last line; the first says where the server is."""
    assert process.stdout
    address = None
    for line in process.stdout:
        address = address or re.search(r"http://[\w.:]+", line)
        if line.startswith("Ready.") and address:
            return address[0]
    raise AssertionError(f"the server did not start: {log.read_text()}")
