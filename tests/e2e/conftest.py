"""One server on the small networks, shared by the tests that send it single requests."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sending import SUBJECTS
from servers import Server, running_server, tiny_settings


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("clients")
    with running_server(folder, tiny_settings(folder)) as running:
        yield running


@pytest.fixture
def recognition(server: Server) -> Iterator[httpx.Client]:
    """A client of an empty collection."""
    with server.client(server.keys["recognition"]) as client:
        client.delete(SUBJECTS).raise_for_status()
        yield client


@pytest.fixture
def detection(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.keys["detection"]) as client:
        yield client


@pytest.fixture
def verification(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.keys["verification"]) as client:
        yield client
