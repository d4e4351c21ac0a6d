"""What is remembered of a store: as true as what it says, whoever writes, on every database."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from faces import add, names, open_collection, unit_vectors
from knownface.accounts import Accounts
from knownface.errors import ServiceNotFound
from knownface.store import Recall, Store
from knownface.types import Example, ServiceType
from stored import make_service

ANNA, BORIS = unit_vectors(2)
WRITERS, WRITES = 3, 25


def test_reading_leaves_the_state_as_it_is(store: Store) -> None:
    service = make_service(store)
    before = store.state()
    with store.snapshot() as tx:
        tx.revision(service.id)
    assert before is not None
    assert store.state() == before


def test_each_commit_of_whatever_process_is_another_state(store: Store, database_url: str) -> None:
    service = make_service(store)
    other = Store.open(database_url)
    seen = [store.state()]
    try:
        for number, writer in enumerate((store, other, other, store)):
            with writer.begin() as tx:
                tx.create_subject(service.id, f"s{number}")
            seen.append(store.state())
    finally:
        other.close()
    assert len(set(seen)) == len(seen)


def test_what_is_recalled_is_kept_until_a_commit(store: Store) -> None:
    service = make_service(store)
    recall: Recall[list[str]] = Recall(store, list)
    recall.current().append("known")
    assert recall.current() == ["known"]
    assert recall.at_once() == (["known"] if store.tells_state_at_once else None)
    with store.begin() as tx:
        tx.create_subject(service.id, "Ada")
    assert recall.current() == []


def test_nothing_is_recalled_of_a_database_that_is_closed(database_url: str) -> None:
    store = Store.open(database_url)
    recall: Recall[list[str]] = Recall(store, list)
    recall.current().append("known")
    store.close()
    assert store.state() is None
    assert recall.current() == []
    assert recall.current() is not recall.current()


def test_what_was_acknowledged_by_any_writer_is_recalled_by_every_reader(
    store: Store, database_url: str
) -> None:
    service = make_service(store)
    recall: Recall[dict[str, int]] = Recall(store, dict)
    acknowledged = [0]
    noting = threading.Lock()

    def write(number: int) -> None:
        writer = Store.open(database_url) if number else store
        try:
            for count in range(WRITES):
                with writer.begin() as tx:
                    tx.create_subject(service.id, f"{number}-{count}")
                    revision = tx.revision(service.id)
                with noting:
                    acknowledged[0] = max(acknowledged[0], revision)
        finally:
            if writer is not store:
                writer.close()

    def recalled() -> int:
        known = recall.current()
        if "revision" not in known:
            with store.snapshot() as tx:
                known["revision"] = tx.revision(service.id)
        return known["revision"]

    def read() -> int:
        looks = 0
        while any(not writer.done() for writer in writers):
            least = acknowledged[0]
            assert recalled() >= least
            looks += 1
        return looks

    with ThreadPoolExecutor(WRITERS + 2) as pool:
        writers = [pool.submit(write, number) for number in range(WRITERS)]
        readers = [pool.submit(read) for _ in range(2)]
    assert all(reader.result() for reader in readers)
    assert recalled() == acknowledged[0]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_deleted_or_exchanged_key_opens_nothing_the_moment_it_is_gone(
    store: Store, database_url: str, elsewhere: bool
) -> None:
    accounts = Accounts(store)
    _, key = accounts.create_service("default", "faces", ServiceType.RECOGNITION)
    assert accounts.authorize(key, ServiceType.RECOGNITION).name == "faces"
    other = Store.open(database_url)
    try:
        renewed = Accounts(other if elsewhere else store).rotate_key("default", "faces")
        assert accounts.authorize_at_once(key, ServiceType.RECOGNITION) is None
        with pytest.raises(ServiceNotFound):
            accounts.authorize(key, ServiceType.RECOGNITION)
        assert accounts.authorize(renewed, ServiceType.RECOGNITION).name == "faces"
        Accounts(other if elsewhere else store).delete_service("default", "faces")
        with pytest.raises(ServiceNotFound):
            accounts.authorize(renewed, ServiceType.RECOGNITION)
    finally:
        other.close()


def test_a_deleted_name_is_not_even_remembered(store: Store) -> None:
    service = make_service(store)
    for name, vector in (("Anna of the test", ANNA), ("Boris", BORIS)):
        add(store, service, name, vector)
    faces = open_collection(store, service)
    assert names(faces, ANNA, 2) == ["Anna of the test", "Boris"]
    with store.begin() as tx:
        tx.delete_subject(service.id, "Anna of the test")
    faces.refresh()
    gc.collect()
    examples = [one for one in gc.get_objects() if isinstance(one, Example)]
    assert "Anna of the test" not in {one.subject for one in examples}
    assert names(faces, ANNA, 2) == ["Boris"]
