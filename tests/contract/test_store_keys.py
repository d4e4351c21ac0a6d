"""Several keys of a service, and the sums of its requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import pytest

from knownface.errors import ApiKeyNotFound, NameTaken, ServiceNotFound
from knownface.store import Store
from knownface.store.store import Transaction
from knownface.types import Outcome, Service, Usage
from stored import digest, make_service

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def service(store: Store) -> Service:
    return make_service(store)


@contextmanager
def refused(store: Store, error: type[Exception]) -> Iterator[Transaction]:
    with pytest.raises(error), store.begin() as tx:
        yield tx


def test_each_of_several_keys_opens_the_service(store: Store, service: Service) -> None:
    with store.begin() as tx:
        added = tx.add_key(service.id, "Door", digest("a"), hint="00aa", expires_at=MOMENT)
        tx.add_key(service.id, "gate", digest("b"), hint="00bb")
    with store.snapshot() as tx:
        first, door, gate = tx.keys(service.id)
        assert (first.name, first.hint, first.expires_at) == ("default", None, None)
        assert door == added == tx.key(service.id, added.id)
        assert (gate.name, gate.hint, gate.last_used_at) == ("gate", "00bb", None)
        opened = tx.key_by_digest(digest("a"))
        assert opened is not None
        assert (opened.service, opened.key_id, opened.expires_at) == (service, door.id, MOMENT)
        assert opened.expired()
        assert tx.service_by_key(digest("a")) is None
        assert tx.service_by_key(digest("b")) == service


def test_keys_differ_in_name_and_in_themselves(store: Store, service: Service) -> None:
    with store.begin() as tx:
        door = tx.add_key(service.id, "Door", digest("a"), hint="00aa")
        gate = tx.add_key(service.id, "gate", digest("b"), hint="00bb")
    with refused(store, NameTaken) as tx:
        tx.add_key(service.id, "DOOR", digest("c"), hint="00cc")
    with refused(store, NameTaken) as tx:
        tx.add_key(service.id, "c", digest("a"), hint="00aa")
    with refused(store, NameTaken) as tx:
        tx.change_key(service.id, gate.id, name="door", expires_at=None)
    with refused(store, NameTaken) as tx:
        tx.rotate_key(service.id, gate.id, digest("a"), hint="00aa")
    with store.begin() as tx:
        changed = tx.change_key(service.id, door.id, name="DOOR", expires_at=MOMENT)
        assert (changed.name, changed.expires_at) == ("DOOR", MOMENT)


def test_a_rotated_key_keeps_its_name_and_the_others(store: Store, service: Service) -> None:
    with store.begin() as tx:
        end = datetime.now(UTC) + timedelta(days=1)
        door = tx.add_key(service.id, "door", digest("a"), hint="00aa", expires_at=end)
        tx.note_use({door.id: MOMENT})
        rotated = tx.rotate_key(service.id, door.id, digest("b"), hint="00bb")
    assert (rotated.id, rotated.name, rotated.expires_at) == (door.id, "door", end)
    assert (rotated.hint, rotated.last_used_at) == ("00bb", None)
    with store.snapshot() as tx:
        assert tx.service_by_key(digest("a")) is None
        assert tx.service_by_key(digest("b")) == service
        assert len(tx.keys(service.id)) == 2


def test_keys_of_another_service_are_out_of_reach(store: Store, service: Service) -> None:
    other = make_service(store)
    with store.snapshot() as tx:
        (theirs,) = tx.keys(other.id)
    with refused(store, ApiKeyNotFound) as tx:
        tx.delete_key(service.id, theirs.id)
    with refused(store, ApiKeyNotFound) as tx:
        tx.rotate_key(service.id, theirs.id, digest("a"), hint="00aa")
    with refused(store, ApiKeyNotFound) as tx:
        tx.change_key(service.id, theirs.id, name="x", expires_at=None)
    with refused(store, ApiKeyNotFound) as tx:
        tx.key(service.id, theirs.id)
    with refused(store, ServiceNotFound) as tx:
        tx.add_key(10**9, "x", digest("a"), hint="00aa")
    with store.begin() as tx:
        tx.delete_key(other.id, theirs.id)
        assert tx.keys(other.id) == []


def test_the_last_use_only_moves_forward(store: Store, service: Service) -> None:
    with store.begin() as tx:
        (key,) = tx.keys(service.id)
        for moment in (MOMENT, MOMENT - timedelta(hours=1)):
            tx.note_use({key.id: moment, 10**9: moment})
        assert tx.keys(service.id)[0].last_used_at == MOMENT


def test_sums_of_several_processes_are_added(store: Store, service: Service) -> None:
    day = date(2026, 1, 2)
    some = [
        Usage(service.id, day, Outcome.OK, 7, 2, 20),
        Usage(service.id, day, Outcome.SERVER, 7, 1, 5),
        Usage(10**9, day, Outcome.OK, 1, 1, 1),
    ]
    with store.begin() as tx:
        tx.add_usage(some)
        tx.add_usage([])
    with store.begin() as tx:
        tx.add_usage([Usage(service.id, day, Outcome.OK, 7, 3, 30)])
        tx.add_usage([Usage(service.id, day - timedelta(days=1), Outcome.OK, 0, 1, 0)])
    with store.snapshot() as tx:
        assert tx.usage(service.id, day) == [
            Usage(service.id, day, Outcome.OK, 7, 5, 50),
            Usage(service.id, day, Outcome.SERVER, 7, 1, 5),
        ]
        assert len(tx.usage(service.id, date.min)) == 3
    with store.begin() as tx:
        tx.forget_usage(day)
        assert len(tx.usage(service.id, date.min)) == 2
        tx.delete_service(service.id)
        assert tx.usage(service.id, date.min) == []
