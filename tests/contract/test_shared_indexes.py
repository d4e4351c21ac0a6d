"""Kept indexes of many faces: files that all processes use instead of memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from faces import DIMENSION, MODEL, add, names, unit_vectors
from keeping_indexes import keep, start
from knownface.collection import FaceCollection
from knownface.index import Hit, Source, View
from knownface.index.exact import ExactIndex
from knownface.index.segments import Rows, write_rows
from knownface.keeping import follow_erasures
from knownface.store import Store
from knownface.store.examples import New
from knownface.types import F32, Embedding, Service
from stored import make_service

ROWS = 64
CROWD = unit_vectors(300, seed=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "indexes"


@pytest.fixture
def many(store: Store, root: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service with enough faces to fill chunks, which are small."""
    monkeypatch.setattr("knownface.index.exact._FIRST_ROWS", ROWS)
    follow_erasures(store, root)
    made = make_service(store)
    with store.begin() as tx:
        tx.add_examples(
            made.id,
            [New(f"person {n}", Embedding(v, MODEL), None) for n, v in enumerate(CROWD)],
        )
    return made


def test_a_merge_during_a_save_leaves_nobody_without_a_code(
    store: Store, many: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = start(store, many, root)
    names(faces, CROWD[0])
    merged = range(1, 100)  # most of a chunk, whose other rows move to another one
    waiting = list(merged)

    def overtaken(path: Path, view: View) -> None:
        with store.begin() as tx:
            while waiting:
                tx.rename_subject(many.id, f"person {waiting.pop()}", "person 0")
        names(faces, CROWD[0])
        write_rows(path, view)

    with monkeypatch.context() as patched:
        patched.setattr("knownface.index.kept.write_rows", overtaken)
        assert faces.keep()
    faces.close()
    again = start(store, many, root)
    expected = ["person 0" if n in merged else f"person {n}" for n in range(len(CROWD))]
    assert [names(again, vector, 1)[0] for vector in CROWD] == expected
    again.close()


def test_a_search_for_many_faces_is_answered_while_ever_better_ones_come(
    store: Store, many: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, many, root)
    faces = start(store, many, root)  # it has no vectors in memory
    last, other = CROWD[99], np.roll(CROWD[99], 1)
    other = other - (other @ last) * last
    other /= np.linalg.norm(other)
    likeness = iter(np.linspace(0.6, 0.99, 12))  # further apart than bounds are wide
    search = ExactIndex.search

    def overtaken(index: ExactIndex, queries: F32, k: int, vectors: Source) -> list[list[Hit]]:
        found = search(index, queries, k, vectors)
        if len(queries) > 1:
            cosine = next(likeness)
            add(store, many, f"new {cosine}", cosine * last + np.sqrt(1 - cosine**2) * other)
            names(faces, CROWD[0])
        return found

    with store.begin() as tx:
        tx.delete_subject(many.id, "person 99")
    monkeypatch.setattr(ExactIndex, "search", overtaken)
    queries = np.concatenate([CROWD[:64], last[None], last[None]])
    found = faces.search(queries.astype(np.float32), 1)
    assert [len(matches) for matches in found] == [1] * len(queries)
    assert found[-1][0].similarity == pytest.approx(found[-2][0].similarity)
    faces.close()


def rows_of_its_own(faces: FaceCollection) -> int:
    index = faces._follower.index
    assert index is not None
    return index.unshared


def test_what_one_process_has_written_all_of_them_use_instead_of_memory(
    store: Store, many: Service, root: Path
) -> None:
    first, second = start(store, many, root), start(store, many, root)
    for faces in (first, second):
        names(faces, CROWD[0])
        assert rows_of_its_own(faces) >= ROWS
    before = second.nbytes
    assert not start(store, many, root).keep()  # nobody has searched: there is nothing to keep
    assert first.keep()
    assert rows_of_its_own(first) == 0
    assert second.keep()  # it is there already
    assert rows_of_its_own(second) == 0
    assert 0 < second.nbytes < before
    for number in (3, 99, 240):
        assert names(second, CROWD[number], 1) == [f"person {number}"]
    with store.begin() as tx:
        tx.delete_subject(many.id, "person 99")
        tx.rename_subject(many.id, "person 3", "person 4")
    for faces in (first, second, first):
        assert "person 99" not in names(faces, CROWD[99], 240)
        assert names(faces, CROWD[3], 1) == ["person 4"]
    for faces in (first, second):
        faces.close()


@pytest.fixture
def overtake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let something happen once the files are read, and before they stand for the index."""
    restore = ExactIndex.restore

    def arrange(happen: Callable[[], None]) -> None:
        def overtaken(index: ExactIndex, parts: Sequence[Rows]) -> None:
            restore(index, parts)
            happen()

        monkeypatch.setattr(ExactIndex, "restore", overtaken)

    return arrange


def test_an_index_that_changes_while_the_files_are_taken_up_is_not_set_back(
    store: Store, many: Service, root: Path, overtake: Callable[[Callable[[], None]], None]
) -> None:
    faces = start(store, many, root)
    names(faces, CROWD[0])
    new = unit_vectors(1, seed=9)[0]

    def change() -> None:
        add(store, many, "new", new)
        assert names(faces, new, 1) == ["new"]

    overtake(change)
    assert faces.keep()
    assert rows_of_its_own(faces) == 0
    assert names(faces, new, 1) == ["new"]
    faces.close()


def test_an_index_given_back_while_the_files_are_taken_up_stays_so(
    store: Store, many: Service, root: Path, overtake: Callable[[Callable[[], None]], None]
) -> None:
    faces = start(store, many, root)
    names(faces, CROWD[0])
    overtake(faces.release)
    assert faces.keep()
    assert not faces.built
    faces.close()


def test_files_that_cannot_be_taken_up_are_left_and_memory_serves_on(
    store: Store, many: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = start(store, many, root)
    names(faces, CROWD[0])
    with monkeypatch.context() as patched:
        patched.setattr("knownface.index.kept.KeptIndex.read", lambda _: None)
        assert faces.keep()
    assert rows_of_its_own(faces) >= ROWS

    def refuse(*_: object) -> None:
        raise ValueError

    with monkeypatch.context() as patched:
        patched.setattr(ExactIndex, "restore", refuse)
        assert faces.keep()
    assert rows_of_its_own(faces) >= ROWS
    assert names(faces, CROWD[5], 1) == ["person 5"]
    assert faces.keep()
    assert rows_of_its_own(faces) == 0
    faces.close()


PROCESS = """
import re, sys
import numpy as np
from pathlib import Path
from knownface.collection import FaceCollection
from knownface.keeping import kept_index
from knownface.store import Store
from knownface.types import Calibration

url, service, root, model, dimension = sys.argv[1:]
store = Store.open(url)
faces = FaceCollection(
    store, int(service), model=model, dimension=int(dimension),
    calibration=Calibration(1, 1), kept=kept_index(Path(root), int(service)), keep_from=1,
)
query = np.frombuffer(sys.stdin.buffer.read(), np.float32)[None]
print(faces.search(query, 1)[0][0].subject)
sizes = {"Shared": 0, "Private_Dirty": 0}
for mapped in re.split(r"(?m)^(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text()):
    if ".rows" in mapped:
        for name, size in re.findall(r"(Shared|Private_Dirty)\\w*: +(\\d+) kB", mapped):
            sizes[name] += int(size)
print(sizes["Shared"], sizes["Private_Dirty"])
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="asks Linux what is shared")
def test_two_processes_hold_the_codes_once(
    store: Store, many: Service, root: Path, database_url: str, backend: str
) -> None:
    if backend != "sqlite":
        pytest.skip("the files are the same")
    faces = start(store, many, root)
    names(faces, CROWD[0])
    assert faces.keep()
    assert names(faces, CROWD[7], 1) == ["person 7"]
    given = [database_url, str(many.id), str(root), MODEL, str(DIMENSION)]
    said = subprocess.run(
        [sys.executable, "-c", PROCESS, *given],
        input=CROWD[7].tobytes(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    subject, sizes = said.splitlines()
    shared, own = map(int, sizes.split())
    assert subject == "person 7"
    assert shared > 0
    assert own == 0
    faces.close()
