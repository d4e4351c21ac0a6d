"""What moving whole collections asks of the store, kept on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

import numpy as np
import pytest

from knownface.errors import ModelMismatch, ServiceNotFound
from knownface.store import Store, Transaction
from knownface.store.examples import New
from knownface.store.transfer import Owned
from knownface.types import Example, Service
from stored import face, make_service, picture


@pytest.fixture
def service(store: Store) -> Service:
    return make_service(store)


def add(store: Store, service: Service, subject: str, number: int, length: int = 300) -> Example:
    with store.begin() as tx:
        return tx.add_example(service.id, subject, face(number), picture(number, length))


def test_an_example_may_come_with_its_id(store: Store, service: Service) -> None:
    image_id = uuid4()
    with store.begin() as tx:
        added = tx.add_example(service.id, "Ada", face(1), None, image_id)
    assert added.image_id == image_id
    with store.snapshot() as tx:
        assert tx.example(service.id, image_id) == added


def test_ids_are_told_with_whoever_holds_them(store: Store, service: Service) -> None:
    other = make_service(store)
    ada, bob = add(store, service, "Ada", 1), add(store, other, "Bob", 2)
    with store.snapshot() as tx:
        found = tx.owners([bob.image_id, uuid4(), ada.image_id, ada.image_id])
        assert found == {
            ada.image_id: Owned(service.id, ada),
            bob.image_id: Owned(other.id, bob),
        }
        assert tx.owners([]) == {}
        assert len(tx.owners([uuid4() for _ in range(1200)])) == 0


def test_the_lengths_of_a_subjects_photographs_are_known(store: Store, service: Service) -> None:
    first = add(store, service, "Ada", 1, 300)
    add(store, service, "Bob", 2, 400)
    second = add(store, service, "ADA", 3, 5000)
    with store.begin() as tx:
        tx.add_example(service.id, "Ada", face(4), None)
    with store.snapshot() as tx:
        sizes = tx.photograph_sizes(service.id, "ada")
        assert tx.photograph_sizes(service.id, "Nobody") == []
    assert sizes == [(first.image_id, 300), (second.image_id, 5000)]


def test_examples_are_read_in_pieces_of_one_service(store: Store, service: Service) -> None:
    added = [add(store, service, f"Subject {n % 2}", n) for n in range(5)]
    add(store, make_service(store), "Subject 1", 9)
    with store.snapshot() as tx:
        assert tx.examples_after(service.id, 0, 3) == added[:3]
        assert tx.examples_after(service.id, added[2].key, 3) == added[3:]
        assert tx.examples_after(service.id, added[4].key, 3) == []
        assert tx.examples_after(service.id, 0, 9, "SUBJECT 1") == added[1::2]
        assert tx.examples_after(service.id, 0, 9, "Nobody") == []


def test_a_service_that_is_gone_cannot_be_held(store: Store, service: Service) -> None:
    with store.begin() as tx:
        tx.delete_service(service.id)
    with pytest.raises(ServiceNotFound), store.begin() as tx:
        tx.hold(service.id)


def test_whoever_holds_a_service_sees_all_that_was_written_before(
    store: Store, service: Service
) -> None:
    """Two imports of one picture: the second waits, and then knows it."""
    image_id, held, stored = uuid4(), threading.Event(), []

    def file() -> None:
        held.wait()
        with store.begin() as tx:
            tx.hold(service.id)
            if not tx.owners([image_id]):
                stored.append(tx.add_example(service.id, "Ada", face(1), None, image_id))

    thread = threading.Thread(target=file)
    thread.start()
    with store.begin() as tx:
        tx.hold(service.id)
        held.set()
        tx.add_example(service.id, "Ada", face(1), None, image_id)
    thread.join()
    assert stored == []


def test_many_examples_are_one_revision_in_their_order(store: Store, service: Service) -> None:
    ada, image_id = add(store, service, "Ada", 1), uuid4()
    with store.snapshot() as tx:
        before = tx.revision(service.id)
    faces = [
        New("Bob", face(2), picture(2, 4000)),
        New("ADA", face(3), None, image_id),
        New("bob", face(4), picture(4)),
    ]
    with store.begin() as tx:
        added = tx.add_examples(service.id, faces)
        assert tx.add_examples(service.id, []) == []
    assert [one.subject for one in added] == ["Bob", "Ada", "Bob"]
    assert added[1].image_id == image_id
    assert [one.key for one in added] == sorted(one.key for one in added)
    with store.snapshot() as tx:
        assert tx.revision(service.id) == before + 1
        changes = tx.changes(service.id, before)
        assert changes is not None
        assert changes.put == [one.key for one in added]
        assert tx.examples_after(service.id, 0, 9) == [ada, *added]
        for one, new in zip(added, faces, strict=True):
            assert tx.photograph(service.id, one.image_id) == (
                new.picture and replace(new.picture, created_at=_created(tx, service, one))
            )
            stored = tx.embedding(service.id, one.image_id)
            assert stored is not None
            np.testing.assert_array_equal(stored[1].vector, new.face.vector)


def _created(tx: Transaction, service: Service, one: Example) -> datetime | None:
    photograph = tx.photograph(service.id, one.image_id)
    return photograph.created_at if photograph else None


def test_of_many_examples_all_are_stored_or_none(store: Store, service: Service) -> None:
    mixed = [New("Ada", face(1), None), New("Bob", face(2, model="another"), None)]
    with pytest.raises(ModelMismatch), store.begin() as tx:
        tx.add_examples(service.id, mixed)
    add(store, service, "Ada", 5)
    with pytest.raises(ModelMismatch), store.begin() as tx:
        tx.add_examples(service.id, mixed[1:])
    with store.snapshot() as tx:
        assert tx.counts(service.id) == (1, 1)
        assert tx.subject(service.id, "Bob") is None
