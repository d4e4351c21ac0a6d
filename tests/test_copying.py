"""Clones of services: made in the background, by whichever process is there."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from knownface.copying import Copier
from knownface.store import Store
from knownface.store.examples import New
from knownface.types import Copying, CopyState, Service, ServiceType
from stored import digest, face, make_service, picture

FACES = 40


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for work all the time: the pause between two looks is none of these tests' concern."""
    monkeypatch.setattr("knownface.background._POLL_SECONDS", 0.01)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/copy.db"


@pytest.fixture
def local(database: str) -> Store:
    return Store.open(database)


def filled(store: Store, faces: int = FACES) -> Service:
    source = make_service(store)
    with store.begin() as tx:
        tx.add_examples(source.id, [New(f"Person {n}", face(n), picture(n)) for n in range(faces)])
    return source


def clone(store: Store, source: Service) -> Service:
    with store.begin() as tx:
        parent = tx.application(source.application)
        assert parent is not None
        target = tx.create_service(parent, "copy", ServiceType.RECOGNITION, digest("copy"))
        tx.queue_copy(source.id, target.id)
    return target


def job(store: Store, target: Service) -> Copying:
    with store.snapshot() as tx:
        found = tx.copy_of(target.id)
    assert found is not None
    return found


def test_a_turn_does_all_there_is_to_do(store: Store) -> None:
    source = filled(store, 7)
    target = clone(store, source)
    assert job(store, target).state is CopyState.RUNNING
    Copier(store, examples=3).turn()
    assert (job(store, target).state, job(store, target).done) == (CopyState.DONE, 7)
    with store.snapshot() as tx:
        assert tx.counts(target.id) == (7, 7)


def test_what_another_process_works_on_is_left_to_it(local: Store) -> None:
    target = clone(local, filled(local, 2))
    with local.begin() as tx:
        assert tx.claim_copy(target.id, "another")
    copier = Copier(local)
    copier.turn()
    assert job(local, target).done == 0
    copier.only = target.id + 1
    with local.begin() as tx:
        tx.release_copy(target.id, "another")
    copier.turn()
    assert job(local, target).done == 0
    copier.only = target.id
    copier.turn()
    assert job(local, target).state is CopyState.DONE


class Halting(Store):
    """A store that tells of each transaction that writes."""

    pieces = 0
    reached: threading.Event

    def begin(self):  # type: ignore[no-untyped-def]  # as its parent's
        self.pieces += 1
        if self.pieces == 4:
            self.reached.set()
        return super().begin()


def test_a_copier_that_is_stopped_leaves_the_rest_to_the_next(local: Store, database: str) -> None:
    target = clone(local, filled(local))
    halting = Halting.open(database)
    assert isinstance(halting, Halting)
    halting.reached = threading.Event()
    copier = Copier(halting, examples=1)
    copier.start()
    copier.start()
    assert halting.reached.wait(60)
    copier.stop()
    left = job(local, target)
    assert (left.state, left.working) == (CopyState.RUNNING, False)
    assert 0 < left.done < FACES
    Copier(local).turn()
    assert (job(local, target).state, job(local, target).done) == (CopyState.DONE, FACES)


def test_a_copy_that_is_deleted_ends_the_work(local: Store, database: str) -> None:
    target = clone(local, filled(local, 3))

    class Deleting(Store):
        pieces = 0

        def begin(self):  # type: ignore[no-untyped-def]  # as its parent's
            self.pieces += 1
            if self.pieces == 3:
                with local.begin() as tx:
                    tx.delete_service(target.id)
            return super().begin()

    Copier(Deleting.open(database), examples=1).turn()
    with local.snapshot() as tx:
        assert tx.service(target.id) is None
        assert tx.open_copies() == []


def test_a_killed_process_loses_nothing(local: Store, database: str) -> None:
    source = filled(local)
    target = clone(local, source)
    program = """
import sys
from knownface.copying import Copier
from knownface.store import Store
class Telling(Copier):
    def _piece(self, job):
        more = super()._piece(job)
        print("piece", flush=True)
        return more
Telling(Store.open(sys.argv[1]), examples=1).turn()
"""
    running = subprocess.Popen(
        [sys.executable, "-c", program, database], stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    for _ in range(3):
        assert running.stdout.readline() == "piece\n"
    running.send_signal(signal.SIGKILL)
    running.wait(60)
    running.stdout.close()
    left = job(local, target)
    assert 3 <= left.done < FACES
    assert left.state is CopyState.RUNNING
    next_one = Copier(local)
    with local.begin() as tx:
        # As when its claim has run out.
        assert tx.claim_copy(target.id, "anybody", seconds=-1)
        tx.release_copy(target.id, "anybody")
    next_one.turn()
    assert job(local, target).state is CopyState.DONE
    with local.snapshot() as tx:
        assert tx.counts(target.id) == tx.counts(source.id) == (FACES, FACES)
        assert len(tx.vectors(target.id)) == FACES


def test_the_thread_survives_a_database_that_is_away(
    local: Store, caplog: pytest.LogCaptureFixture
) -> None:
    local.close()
    copier = Copier(local)
    copier.start()
    while "copies of services wait" not in caplog.text:
        threading.Event().wait(0.01)
    copier.stop()
