"""What a million faces take of a machine: disk, memory, and the time until they are searchable."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from bench.results import Results
from knownface.collections_by_service import Collections
from knownface.keeping import follow_erasures, kept_indexes
from knownface.store import Store
from knownface.store.examples import New
from knownface.types import Calibration, Embedding, ServiceType
from knownface.vision.catalog import ModelSpec

FACES, QUICK_FACES = 1_000_000, 100_000
STARTS = 3
DIMENSION = 128
_BATCH = 10_000

EMBEDDER = ModelSpec(
    name="synthetic",
    task="embedder",
    family="sketch",
    file="none.onnx",
    input="data",
    size=(8, 8),
    dimension=DIMENSION,
    calibration=Calibration(1.16, 6.6),
)


def measure(results: Results, *, models: Path, portraits: Path, quick: bool) -> None:
    """Measure everything of this page; neither models nor pictures are needed."""
    del models, portraits
    faces = QUICK_FACES if quick else FACES
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        fill(data, faces)
        database = _size(data)
        cold = _start(data, keep=True)
        warm = [_start(data) for _ in range(STARTS)]
        kept = _size(data) - database
    results.figure(
        "restart_seconds_1m",
        [seconds for seconds, _ in warm],
        f"from opening the database to the first answer, {faces:,} faces, with the kept index",
        "≤ 3",
    )
    results.figure(
        "cold_seconds_1m",
        [cold[0]],
        f"the same from the database alone, {faces:,} faces",
        "≤ 30",
    )
    results.figure(
        "disk_bytes_per_face_128",
        [(database + kept) / faces],
        "the database without photographs, and the kept index",
        "≤ 1024",
    )
    results.figure(
        "disk_bytes_per_face_128_database",
        [database / faces],
        "the database alone: the kept index is a cache that may be deleted",
    )
    results.figure(
        "ram_bytes_per_face_128_served",
        [memory / faces for _, memory in warm],
        "memory of a process that searches, beyond one with an empty collection; without the "
        "pages of files, which the system drops when it needs the room",
        "≤ 200",
    )


def fill(data: Path, faces: int) -> None:
    """Make a database with a service of so many faces, four of each subject."""
    random = np.random.default_rng(1)
    with closing(Store.open(f"sqlite:///{data / 'knownface.db'}")) as store:
        with store.begin() as tx:
            parent = tx.create_application("bench")
            made = tx.create_service(parent, "faces", ServiceType.RECOGNITION, b"digest")
        for start in range(0, faces, _BATCH):
            vectors = random.standard_normal((min(_BATCH, faces - start), DIMENSION), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            with store.begin() as tx:
                tx.add_examples(
                    made.id,
                    [
                        New(f"person {number // 4}", Embedding(vector, EMBEDDER.name), None)
                        for number, vector in enumerate(vectors, start=start)
                    ],
                )


def _start(data: Path, *, keep: bool = False) -> tuple[float, int]:
    """Search once in a process of its own; return the seconds and the memory it took."""
    answer = subprocess.run(
        [sys.executable, "-m", "bench.restart", str(data), *(["keep"] if keep else [])],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, memory = answer.stdout.split()
    return float(seconds), int(memory)


def _search_once(data: Path, *, keep: bool) -> None:
    with tempfile.TemporaryDirectory() as empty:
        fill(Path(empty), 1)
        _first(Path(empty))[1].close()
    before = _memory()
    seconds, store, collections = _first(data)
    memory = _memory() - before
    if keep:
        collections.keep()
    store.close()
    print(seconds, memory)


def _first(data: Path) -> tuple[float, Store, Collections]:
    began = time.perf_counter()
    store = Store.open(f"sqlite:///{data / 'knownface.db'}")
    kept = kept_indexes(store, data)
    follow_erasures(store, kept)
    collections = Collections(store, EMBEDDER, kept=kept)
    probe = np.full((1, DIMENSION), DIMENSION**-0.5, np.float32)
    if not collections.get(1).search(probe, 1)[0]:
        raise SystemExit("nobody was found")
    return time.perf_counter() - began, store, collections


def _memory() -> int:
    """Return the resident memory of this process that is not the content of files."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def _size(folder: Path) -> int:
    """Return how much of the disk the files of a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    _search_once(Path(sys.argv[1]), keep="keep" in sys.argv)
