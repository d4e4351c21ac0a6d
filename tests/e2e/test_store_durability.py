"""A process is killed in the middle of its work; whoever opens the database next finds it whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from knownface.store import Store
from knownface.types import Service
from processes import Forked
from stored import face, make_service, picture

pytestmark = pytest.mark.e2e

Start = Callable[[str, int, str, int], Forked]
GROUP = 3
PHOTOGRAPH = 20_000
SECONDS = 60


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a process that writes to a database until it is killed."""
    program = Path(__file__).with_name("store_writer.py")

    def starter(url: str, service: int, what: str, number: int) -> Forked:
        words = (url, str(service), what, str(number))
        complaints = tmp_path / "complaints"
        return Forked(words, tmp_path, os.environ, stderr=complaints, program=program)

    return starter


def reopened(url: str) -> Store:
    """Open what a dead process left; a lock of it would be waited for in vain."""
    store = Store.open(url, busy_timeout=5)
    with store.begin() as tx:
        if tx.connection.dialect.name == "sqlite":
            assert tx.connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
            assert tx.connection.execute(text("PRAGMA foreign_key_check")).all() == []
    return store


def groups(store: Store, service: Service) -> set[int]:
    """Return the groups that are there, having made sure that each is there as a whole."""
    with store.snapshot() as tx:
        names = tx.subject_names(service.id)
        subjects, examples = tx.counts(service.id)
        assert (len(names), len(names) * GROUP) == (subjects, examples)
        assert len(tx.vectors(service.id).keys) == examples
        found = {int(name.removeprefix("Group ")) for name in names}
        for group in found:
            page = tx.examples(service.id, subject=f"Group {group}", page=0, size=9)
            for number, example in enumerate(page.examples, start=group * GROUP):
                embedding = tx.embedding(service.id, example.image_id)
                photograph = tx.photograph(service.id, example.image_id)
                assert embedding is not None
                np.testing.assert_array_equal(embedding[1].vector, face(number).vector)
                assert photograph is not None
                assert photograph.content == picture(number, PHOTOGRAPH).content
        changes = tx.changes(service.id, 0)
        assert changes is not None
        assert len(changes.put) == examples == tx.revision(service.id)
    return found


def test_every_acknowledged_write_outlives_a_kill(empty_database_url: str, start: Start) -> None:
    with closing(Store.open(empty_database_url)) as store:
        service = make_service(store)
    acknowledged: set[int] = set()
    for wanted in (1, 4, 9):
        with start(empty_database_url, service.id, "write", 1000 * wanted) as writer:
            for _ in range(wanted):
                acknowledged.add(int(writer.stdout.readline()))
            writer.send_signal(signal.SIGKILL)
            acknowledged |= {int(line) for line in writer.stdout.read().split()}
            assert writer.wait(SECONDS) == -signal.SIGKILL
        with closing(reopened(empty_database_url)) as store:
            found = groups(store, service)
        assert acknowledged <= found
        # At most one group was committed without the time to say so.
        assert len(found - acknowledged) <= 1
        acknowledged = found


def state(store: Store, service: Service) -> object:
    """Return everything that a reader could tell two states of the collection apart by."""
    with store.snapshot() as tx:
        return (
            tx.revision(service.id),
            tx.subject_names(service.id),
            [
                (example.subject, tx.photograph(service.id, example.image_id) is not None)
                for example in tx.examples(service.id, subject=None, page=0, size=100).examples
            ],
            tx.vectors(service.id).matrix.tolist(),
            tx.changes(service.id, 0),
        )


@pytest.mark.parametrize("statements", [3, 12, 21])
def test_a_transaction_that_is_killed_never_happened(
    empty_database_url: str, start: Start, statements: int
) -> None:
    with closing(Store.open(empty_database_url)) as store:
        service = make_service(store)
        with store.begin() as tx:
            for number, name in enumerate(["Ada", "Grace", "Mia", "Ada"]):
                tx.add_example(service.id, name, face(number), picture(number))
        before = state(store, service)
    with start(empty_database_url, service.id, "change", statements) as writer:
        assert writer.wait(SECONDS) == -signal.SIGKILL
    with closing(reopened(empty_database_url)) as store:
        assert state(store, service) == before
        with store.begin() as tx:
            tx.delete_subject(service.id, "Ada")


@pytest.mark.parametrize("statements", [5, 12, 19])
def test_a_migration_that_is_killed_is_made_again(
    empty_database_url: str, start: Start, statements: int
) -> None:
    with start(empty_database_url, 0, "open", statements) as opener:
        assert opener.wait(SECONDS) == -signal.SIGKILL
    with closing(reopened(empty_database_url)) as store:
        service = make_service(store)
        with store.begin() as tx:
            tx.add_example(service.id, "Ada", face(1), picture(1))
