"""How many threads a run takes: measured once, kept, and given where they pay."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from knownface.types import F32
from knownface.vision.catalog import Catalog
from knownface.vision.session import Load, Network
from knownface.vision.threads import Timing, Tuner, fingerprint, kept
from tiny_models import EMBEDDER, write_models

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture
def load() -> Load:
    return Load()


@pytest.fixture
def network(models: Path, load: Load) -> Network:
    catalog = Catalog.load(models)
    spec = catalog.spec(EMBEDDER)
    made = Network(spec, catalog.path(spec), streams=2, load=load)
    made.load()
    return made


def crop() -> F32:
    return np.random.default_rng(1).integers(0, 256, (1, 3, 112, 112)).astype(np.float32)


def tuned(network: Network, path: Path, asked: int = 0, cores: int = 2) -> None:
    tuner = Tuner([network], path, asked=asked, cores=cores)
    tuner.start()
    assert tuner.wait(30)


def timing(network: Network, one_ms: float, all_ms: float) -> Timing:
    return Timing(fingerprint(network, 2), 2, one_ms, all_ms)


def keep(path: Path, network: Network, found: Timing) -> None:
    numbers = f'"threads":2,"one_ms":{found.one_ms},"all_ms":{found.all_ms}'
    path.write_text(f'{{"{network.name}":{{"fingerprint":"{found.fingerprint}",{numbers}}}}}')


@pytest.mark.parametrize(("all_ms", "threads"), [(6.0, 2), (6.5, 1), (12.0, 1)])
def test_more_threads_have_to_pay(all_ms: float, threads: int) -> None:
    assert Timing("any", 2, 10.0, all_ms).wide == threads


def test_what_was_measured_on_this_machine_is_not_measured_again(
    network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "threads.json"
    keep(path, network, timing(network, 10.0, 5.0))
    before = path.read_bytes()

    tuned(network, path)

    assert network.threads_said == "1 thread, 2 where nothing else runs"
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"tiny-embedder": {"threads": "x"}}'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "threads.json"
    path.write_bytes(content)
    assert kept(path) == {}
    assert kept(tmp_path / "absent.json") == {}


def test_what_was_measured_on_another_machine_is_measured_again(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knownface.vision.session._OURS", 0.0)
    path = tmp_path / "threads.json"
    keep(path, network, replace(timing(network, 1e6, 5.0), fingerprint="another processor"))

    tuned(network, path)

    assert kept(path)[network.name].fingerprint == fingerprint(network, 2)
    assert kept(path)[network.name].one_ms < 1e6


def test_what_is_measured_is_kept_with_what_it_depends_on(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "threads.json"
    path.write_bytes(b"damaged")
    # A busy machine measures nothing, which is right, and would make this test a matter of luck.
    monkeypatch.setattr("knownface.vision.session._OURS", 0.0)

    tuned(network, path)

    found = kept(path)[network.name]
    assert found.fingerprint == fingerprint(network, 2)
    assert "2 cores" in found.fingerprint
    assert network.runtime in found.fingerprint
    assert min(found.one_ms, found.all_ms) > 0
    assert [file.name for file in tmp_path.iterdir()] == ["threads.json"]  # put there as a whole


def test_of_two_that_start_at_once_one_measures_and_both_know(
    network: Network,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("knownface.vision.session._OURS", 0.0)
    monkeypatch.setattr("knownface.vision.threads._PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("knownface.vision.threads._ATTEMPTS", 1000)
    path = tmp_path / "threads.json"
    other = Network(network.spec, network.path, streams=2)
    other.load()
    tuners = [Tuner([one], path, cores=2) for one in (network, other)]

    with caplog.at_level(logging.INFO, "knownface.vision.threads"):
        for tuner in tuners:
            tuner.start()
        assert all(tuner.wait(30) for tuner in tuners)

    assert caplog.messages == ["threads measured"]
    assert network.threads_said == other.threads_said
    assert list(kept(path)) == [network.name]


def test_what_was_begun_early_is_not_begun_again(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "threads.json"
    keep(path, network, timing(network, 10.0, 5.0))
    tuner = Tuner([network], path, cores=2)
    tuner.start()
    assert tuner.wait(30)
    path.unlink()
    tuner.start()
    assert tuner.wait(0)
    assert not path.exists()


def test_a_setting_is_taken_as_it_is(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "threads.json"
    keep(path, network, timing(network, 10.0, 20.0))
    tuned(network, path, asked=2)
    assert network.threads_said == "1 thread, 2 where nothing else runs"


@pytest.mark.parametrize(("asked", "cores"), [(1, 2), (0, 1), (4, 1)])
def test_nothing_is_done_where_nothing_can_be_gained(
    network: Network, tmp_path: Path, asked: int, cores: int
) -> None:
    tuned(network, tmp_path / "threads.json", asked, cores)
    assert network.threads_said == "1 thread"
    assert not list(tmp_path.iterdir())


def test_other_runs_make_a_measurement_worthless(
    network: Network, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knownface.vision.session._OURS", 0.0)
    with load.run():
        assert network.compare(2) is None
    assert network.compare(2) is not None


def test_only_one_run_at_a_time_is_alone(load: Load) -> None:
    with load.run() as first, load.run() as second:
        assert (first, second) == (True, False)
    with load.run() as third:
        assert third


def test_the_answer_does_not_depend_on_the_threads(network: Network, load: Load) -> None:
    before = network.run(crop())[0]
    network.widen(2)
    assert np.allclose(network.run(crop())[0], before, rtol=1e-4, atol=1e-4)
    with load.run():
        assert np.array_equal(network.run(crop())[0], before)


def test_a_network_that_was_unloaded_comes_back_with_its_threads(network: Network) -> None:
    network.widen(2)
    network.unload()
    assert network.threads_said == "1 thread"
    network.run(crop())
    assert network.threads_said == "1 thread, 2 where nothing else runs"
