"""A whole program on small real models and SQLite, and callers that hold a key of each type.

The program serves all tests of a module; each test has services, and so collections, of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import tiny_models
from api.calls import Caller, new_caller
from databases import with_tables
from knownface.api.server import create_server
from knownface.app import App, build
from knownface.settings import Settings
from knownface.types import ServiceType


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.write_models(folder)
    return folder


def _settings(data: Path, models: Path) -> Settings:
    return Settings(
        data=data,
        models_dir=models,
        detector=tiny_models.DETECTOR,
        embedder=tiny_models.EMBEDDER,
        slots=2,
        offline=True,
    )


@pytest.fixture
def settings(tmp_path: Path, models: Path, sqlite_tables: Path) -> Settings:
    """Settings for a program of the test's own."""
    return _settings(with_tables(tmp_path / "data", sqlite_tables), models)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[App]:
    with build(_settings(tmp_path_factory.mktemp("data"), models)) as app:
        yield app


@pytest.fixture(scope="module")
def server(app: App) -> FastAPI:
    return create_server(app)


@pytest.fixture(scope="module")
def client(server: FastAPI) -> Iterator[TestClient]:
    with TestClient(server) as client:
        yield client


@pytest.fixture
def recognition(app: App, client: TestClient) -> Caller:
    return new_caller(app, client, ServiceType.RECOGNITION)


@pytest.fixture
def detection(app: App, client: TestClient) -> Caller:
    return new_caller(app, client, ServiceType.DETECTION)


@pytest.fixture
def verification(app: App, client: TestClient) -> Caller:
    return new_caller(app, client, ServiceType.VERIFICATION)
