"""Kept indexes over each database: taken up where they are true, and without what was erased."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import delete, update

from faces import CALIBRATION, DIMENSION, MODEL, add, code_of, names, unit_vectors
from knownface.collection import FaceCollection
from knownface.errors import ServiceNotFound, Unavailable
from knownface.index import Hit, Source, View
from knownface.index.exact import ExactIndex
from knownface.index.segments import Rows, write_rows
from knownface.keeping import catch_up, follow_erasures, kept_index
from knownface.store import Store, Transaction
from knownface.store.examples import New
from knownface.store.tables import example
from knownface.store.tables import service as services
from knownface.types import F32, Embedding, Service
from stored import make_service

FACES = unit_vectors(12)
ROWS = 64
CROWD = unit_vectors(300, seed=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "indexes"


@pytest.fixture
def service(store: Store, root: Path) -> Service:
    follow_erasures(store, root)
    made = make_service(store)
    for number, vector in enumerate(FACES):
        add(store, made, f"person {number}", vector)
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many faces were read from the database each time."""
    counts: list[int] = []
    vectors, vectors_of = Transaction.vectors, Transaction.vectors_of

    def counted(which: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            found = which(*given, **named)
            counts.append(len(found))  # type: ignore[arg-type]  # Vectors, both of them
            return found

        return call

    monkeypatch.setattr(Transaction, "vectors", counted(vectors))
    monkeypatch.setattr(Transaction, "vectors_of", counted(vectors_of))
    return counts


def start(store: Store, service: Service, root: Path, **changes: object) -> FaceCollection:
    """Return the collection of a process that has just begun."""
    given: dict[str, object] = {
        "model": MODEL,
        "dimension": DIMENSION,
        "calibration": CALIBRATION,
        "kept": kept_index(root, service.id),
        "keep_from": 1,
    }
    return FaceCollection(store, service.id, **given | changes)  # type: ignore[arg-type]  # mixed


def stop(faces: FaceCollection) -> bool:
    """Keep the index and leave its folder, as a process does that ends."""
    kept = faces.keep()
    faces.close()
    return kept


def keep(store: Store, service: Service, root: Path) -> None:
    faces = start(store, service, root)
    names(faces, FACES[0])
    assert stop(faces)


def in_files(root: Path, vector: F32) -> bool:
    piece = code_of(vector)
    return any(piece in path.read_bytes() for path in root.rglob("*") if path.is_file())


def test_a_restart_reads_no_face_from_the_database(
    store: Store, service: Service, root: Path, read: list[int]
) -> None:
    keep(store, service, root)
    assert sum(read) == len(FACES)
    read.clear()
    faces = start(store, service, root)
    for number, vector in enumerate(FACES):
        assert names(faces, vector, 1) == [f"person {number}"]
    assert len(faces) == len(FACES)
    assert sum(read) == 0


def test_a_restart_reads_what_has_changed_meanwhile(
    store: Store, service: Service, root: Path, read: list[int]
) -> None:
    keep(store, service, root)
    add(store, service, "new", unit_vectors(1, seed=9)[0])
    with store.begin() as tx:
        tx.rename_subject(service.id, "person 3", "person 4")
    read.clear()
    faces = start(store, service, root)
    assert names(faces, unit_vectors(1, seed=9)[0], 1) == ["new"]
    assert names(faces, FACES[3], 1) == ["person 4"]
    assert sum(read) == 2
    assert stop(faces)
    read.clear()
    assert names(start(store, service, root), FACES[3], 20).count("person 4") == 1
    assert sum(read) == 0


def delete_example(tx: Transaction, service: Service, image_id: UUID) -> None:
    tx.delete_examples(service.id, [image_id])


def delete_subject(tx: Transaction, service: Service, _: UUID) -> None:
    tx.delete_subject(service.id, "person 5")


def delete_all(tx: Transaction, service: Service, _: UUID) -> None:
    tx.delete_subjects(service.id)


def delete_service(tx: Transaction, service: Service, _: UUID) -> None:
    tx.delete_service(service.id)


WAYS = [delete_example, delete_subject, delete_all, delete_service]


@pytest.mark.parametrize("erase", WAYS)
@pytest.mark.parametrize("running", [False, True])
def test_a_deleted_face_is_in_no_file_once_its_deletion_is_committed(
    store: Store,
    service: Service,
    root: Path,
    erase: Callable[[Transaction, Service, UUID], None],
    running: bool,
) -> None:
    faces = start(store, service, root)
    image_id = faces.search(FACES[5][None], 1)[0][0].image_id
    assert faces.keep()
    if not running:
        stop(faces)
    assert in_files(root, FACES[5])
    with store.begin() as tx:
        erase(tx, service, image_id)
    assert not in_files(root, FACES[5])
    if erase is delete_service:
        with pytest.raises(ServiceNotFound):
            faces.search(FACES[5][None], 1)
        return
    if not running:
        faces = start(store, service, root)
    assert "person 5" not in names(faces, FACES[5], 20)
    faces.keep()
    assert not in_files(root, FACES[5])


@pytest.mark.parametrize("erase", WAYS)
def test_a_process_killed_after_the_commit_leaves_nothing_to_the_next(
    store: Store,
    service: Service,
    root: Path,
    database_url: str,
    erase: Callable[[Transaction, Service, UUID], None],
) -> None:
    keep(store, service, root)
    faces = start(store, service, root)
    image_id = faces.search(FACES[5][None], 1)[0][0].image_id
    killed = Store.open(database_url)  # it follows no erasure
    with killed.begin() as tx:
        erase(tx, service, image_id)
    killed.close()
    assert in_files(root, FACES[5])
    catch_up(store, root)
    assert not in_files(root, FACES[5])


@pytest.mark.parametrize("emptied", [False, True])
def test_a_replica_erases_from_its_own_files_when_it_follows(
    store: Store, service: Service, root: Path, database_url: str, emptied: bool
) -> None:
    faces = start(store, service, root)
    names(faces, FACES[5])
    assert faces.keep()
    elsewhere = Store.open(database_url)
    with elsewhere.begin() as tx:
        if emptied:
            tx.delete_subjects(service.id)
        else:
            tx.delete_subject(service.id, "person 5")
    elsewhere.close()
    faces.refresh()
    assert not in_files(root, FACES[5])
    assert faces.keep() is not emptied


def test_a_process_that_nobody_asks_lets_go_of_what_others_deleted(
    store: Store, service: Service, root: Path, database_url: str
) -> None:
    faces = start(store, service, root)
    names(faces, FACES[0])
    assert faces.keep()
    elsewhere = Store.open(database_url)
    with elsewhere.begin() as tx:
        tx.delete_subject(service.id, "person 5")
    elsewhere.close()
    assert faces.keep()
    assert len(faces) == len(FACES) - 1
    assert not in_files(root, FACES[5])
    faces.close()


def test_a_model_that_was_left_leaves_its_files(store: Store, service: Service, root: Path) -> None:
    keep(store, service, root)
    with store.begin() as tx:
        tx.queue_reembedding(service.id, "other")
        tx.claim(service.id, "worker")
        vectors = unit_vectors(len(FACES), 8, seed=1)
        keys = tx.lacking(service.id, "other", limit=100)
        embeddings = {k: Embedding(v, "other") for k, v in zip(keys, vectors, strict=True)}
        tx.record(service.id, "worker", embeddings, {})
        assert tx.switch(service.id, "worker", after_key=0)
    other = start(store, service, root, model="other", dimension=8)
    assert names(other, vectors[2], 1) == ["person 2"]
    assert not in_files(root, FACES[2])
    keep_other = other.keep()
    assert keep_other
    last: int | None = 0
    while last is not None:
        with store.begin() as tx:
            last = tx.clean(service.id, "worker", after_key=last, limit=100)
    assert in_files(root, vectors[2])


def test_without_an_answer_of_the_database_all_files_go(
    store: Store, service: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, service, root)

    def fail(*_: object) -> None:
        raise Unavailable("busy")

    monkeypatch.setattr(Transaction, "changes", fail)
    with store.begin() as tx:
        tx.delete_subject(service.id, "person 5")
    assert not in_files(root, FACES[7])


def test_a_folder_that_cannot_be_erased_from_is_told_of(
    store: Store,
    service: Service,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep(store, service, root)

    def fail(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("knownface.index.kept.KeptIndex.erase", fail)
    with store.begin() as tx:
        tx.delete_subject(service.id, "person 5")
    assert "remove that folder" in caplog.text


def forget_log(store: Store, service: Service, _: Path) -> None:
    with store.begin() as tx:
        tx._forget_changes(service.id, tx._next_revision(service.id))


def lose_a_face(store: Store, service: Service, _: Path) -> None:
    """As in a copy of the database from before the deletion of another face, and after one."""
    with store.begin() as tx:
        key = tx.vectors(service.id).keys[0]
        tx.connection.execute(delete(example).where(example.c.key == int(key)))


def exchange_the_newest(store: Store, service: Service, _: Path) -> None:
    """As in a copy of the database from before it, where another face came in its place."""
    with store.begin() as tx:
        key = tx.vectors(service.id).keys[-1]
        tx.connection.execute(
            update(example).where(example.c.key == int(key)).values(image_id=uuid4())
        )


def go_back(store: Store, service: Service, _: Path) -> None:
    with store.begin() as tx:
        tx.connection.execute(
            update(services).where(services.c.id == service.id).values(revision=1)
        )


def damage(_: Store, service: Service, root: Path) -> None:
    path = next((root / str(service.id)).glob("*.rows"))
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("doubt", [forget_log, lose_a_face, exchange_the_newest, go_back, damage])
def test_in_doubt_all_is_read_from_the_database(
    store: Store,
    service: Service,
    root: Path,
    read: list[int],
    doubt: Callable[[Store, Service, Path], None],
) -> None:
    keep(store, service, root)
    doubt(store, service, root)
    read.clear()
    faces = start(store, service, root)
    assert names(faces, FACES[4], 1) == ["person 4"]
    assert sum(read) == len(faces) >= len(FACES) - 1


def test_a_running_process_that_lost_track_begins_anew_and_keeps_that(
    store: Store, service: Service, root: Path
) -> None:
    faces = start(store, service, root)
    names(faces, FACES[0])
    assert faces.keep()
    with store.begin() as tx:
        tx.delete_subject(service.id, "person 5")
    forget_log(store, service, root)
    assert "person 5" not in names(faces, FACES[5], 20)
    assert not list(root.glob("*/*.rows"))
    assert faces.keep()
    assert not in_files(root, FACES[5])


def test_another_model_or_width_is_not_taken_up(
    store: Store, service: Service, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(store, service, root)
    with caplog.at_level(logging.INFO), pytest.raises(Exception, match="numbers"):
        start(store, service, root, dimension=8).search(np.eye(8, dtype=np.float32)[:1], 1)
    assert "out of date" in caplog.text


def test_chunks_that_do_not_fit_are_not_taken_up(
    store: Store, service: Service, root: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, service, root)

    def refuse(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr("knownface.index.exact.ExactIndex.restore", refuse)
    read.clear()
    assert names(start(store, service, root), FACES[4], 1) == ["person 4"]
    assert sum(read) == len(FACES)


def test_what_is_kept_already_is_not_written_again(
    store: Store, service: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = start(store, service, root)
    assert not faces.keep()
    names(faces, FACES[0])
    assert faces.keep()

    def refuse(*_: object) -> bool:
        raise AssertionError

    monkeypatch.setattr("knownface.index.kept.KeptIndex.save", refuse)
    assert faces.keep()
    small = start(store, service, root, keep_from=13)
    names(small, FACES[0])
    assert not small.keep()


def test_a_deletion_during_a_save_ends_it(
    store: Store, service: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = start(store, service, root)
    names(faces, FACES[0])

    def overtaken(path: Path, view: View) -> None:
        write_rows(path, view)
        with store.begin() as tx:
            if tx.subject(service.id, "person 5"):
                tx.delete_subject(service.id, "person 5")
        assert not in_files(root, FACES[5])

    monkeypatch.setattr("knownface.index.kept.write_rows", overtaken)
    assert not faces.keep()
    assert not in_files(root, FACES[5])
    assert faces.keep()
    assert not in_files(root, FACES[5])
    assert in_files(root, FACES[6])


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


def test_an_index_that_changes_while_the_files_are_taken_up_is_not_set_back(
    store: Store, many: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = start(store, many, root)
    names(faces, CROWD[0])
    new, restore = unit_vectors(1, seed=9)[0], ExactIndex.restore

    def overtaken(index: ExactIndex, parts: Sequence[Rows]) -> None:
        restore(index, parts)
        add(store, many, "new", new)
        assert names(faces, new, 1) == ["new"]

    monkeypatch.setattr(ExactIndex, "restore", overtaken)
    assert faces.keep()
    assert rows_of_its_own(faces) == 0
    assert names(faces, new, 1) == ["new"]
    faces.close()


def test_an_index_given_back_while_the_files_are_taken_up_stays_so(
    store: Store, many: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = start(store, many, root)
    names(faces, CROWD[0])
    restore = ExactIndex.restore

    def overtaken(index: ExactIndex, parts: Sequence[Rows]) -> None:
        restore(index, parts)
        faces.release()

    monkeypatch.setattr(ExactIndex, "restore", overtaken)
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


def test_what_is_damaged_goes_when_the_database_is_opened(
    store: Store, service: Service, root: Path
) -> None:
    keep(store, service, root)
    (root / str(service.id) / "state").write_bytes(b"?")
    catch_up(store, root)
    assert not in_files(root, FACES[5])


def test_an_index_given_back_during_a_save_is_not_made_for_it(
    store: Store, service: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = start(store, service, root)
    names(faces, FACES[0])

    def own(_: object) -> bool:
        root.mkdir()
        faces.release()
        return True

    monkeypatch.setattr("knownface.index.kept.KeptIndex.own", own)
    assert not faces.keep()
    assert not faces.built
    assert not in_files(root, FACES[0])
