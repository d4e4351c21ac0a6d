"""Kept indexes over each database: taken up where they are true, and without what was erased."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import delete, update

from faces import add, names, unit_vectors
from keeping_indexes import in_files, keep, start, stop
from knownface.errors import ServiceNotFound, Unavailable
from knownface.index import View
from knownface.index.segments import write_rows
from knownface.keeping import catch_up, follow_erasures
from knownface.store import Store, Transaction
from knownface.store.tables import example
from knownface.store.tables import service as services
from knownface.types import Embedding, Service
from stored import make_service

FACES = unit_vectors(12)


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
