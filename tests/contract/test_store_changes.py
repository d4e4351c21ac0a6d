"""What indexes live on, revisions, changes and vectors, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import text

from knownface.errors import ServiceNotFound
from knownface.store import Changes, Store
from knownface.types import Example, Service
from stored import DIMENSION, face, make_service


@pytest.fixture
def service(store: Store) -> Service:
    return make_service(store)


@pytest.fixture
def forgetful(database_url: str) -> Iterator[Store]:
    """A store that keeps only the newest twenty changes."""
    opened = Store.open(database_url, change_log=20)
    yield opened
    opened.close()


def add(store: Store, service: Service, subject: str, number: int = 1) -> Example:
    with store.begin() as tx:
        return tx.add_example(service.id, subject, face(number), None)


def revision(store: Store, service: Service) -> int:
    with store.snapshot() as tx:
        return tx.revision(service.id)


def changes(store: Store, service: Service, since: int) -> Changes:
    with store.snapshot() as tx:
        found = tx.changes(service.id, since)
    assert found is not None
    return found


def test_each_write_is_a_revision_of_its_service_alone(store: Store, service: Service) -> None:
    other = make_service(store)
    assert revision(store, service) == 0
    add(store, service, "Ada")
    with store.begin() as tx:
        tx.create_subject(service.id, "Grace")
        tx.rename_subject(service.id, "Grace", "Mia")
    assert revision(store, service) == 3
    assert revision(store, other) == 0


def test_what_is_put_and_removed_is_told_as_its_net_effect(store: Store, service: Service) -> None:
    old = add(store, service, "Ada", 1)
    since = revision(store, service)
    kept, brief = add(store, service, "Ada", 2), add(store, service, "Grace", 3)
    with store.begin() as tx:
        tx.delete_examples(service.id, [brief.image_id, old.image_id])
    told = changes(store, service, since)
    assert told.revision == revision(store, service)
    assert not told.cleared
    assert told.put == [kept.key]
    assert sorted(told.removed) == [old.key, brief.key]
    assert changes(store, service, told.revision) == Changes(told.revision, False, [], [])


def test_a_rename_changes_nothing_in_an_index(store: Store, service: Service) -> None:
    add(store, service, "Ada")
    since = revision(store, service)
    with store.begin() as tx:
        tx.rename_subject(service.id, "Ada", "Grace")
    assert changes(store, service, since) == Changes(since + 1, False, [], [])


def test_a_merge_puts_the_moved_examples_again(store: Store, service: Service) -> None:
    moved = [add(store, service, "Ada", number) for number in range(3)]
    add(store, service, "Grace", 9)
    since = revision(store, service)
    with store.begin() as tx:
        tx.rename_subject(service.id, "Ada", "Grace")
        grace = tx.subject(service.id, "Grace")
    told = changes(store, service, since)
    assert sorted(told.put) == [example.key for example in moved]
    assert told.removed == []
    with store.snapshot() as tx:
        assert grace is not None
        assert set(tx.vectors_of(service.id, told.put).subjects) == {grace.id}


@pytest.mark.parametrize("emptied_by", ["delete_subjects", "delete_examples_of"])
def test_emptying_a_collection_is_told_in_one_word(
    store: Store, service: Service, emptied_by: str
) -> None:
    before = [add(store, service, "Ada", number) for number in range(5)]
    since = revision(store, service)
    with store.begin() as tx:
        tx.delete_examples(service.id, [before[0].image_id])
        if emptied_by == "delete_subjects":
            tx.delete_subjects(service.id)
        else:
            tx.delete_examples_of(service.id, None)
    after, brief = add(store, service, "Ada", 8), add(store, service, "Ada", 9)
    with store.begin() as tx:
        tx.delete_examples(service.id, [brief.image_id])
        rows = tx.connection.execute(text("SELECT count(*) FROM change")).scalar_one()
    assert changes(store, service, since) == changes(store, service, 0)
    assert changes(store, service, since) == Changes(since + 5, True, [after.key], [])
    assert rows == 4


def test_changes_of_a_revision_that_is_not_reached_yet_are_not_known(
    store: Store, service: Service
) -> None:
    with store.snapshot() as tx:
        assert tx.changes(service.id, 1) is None


def test_changes_that_are_thrown_away_are_not_known_any_more(forgetful: Store) -> None:
    service = make_service(forgetful)
    with forgetful.begin() as tx:
        added = [tx.add_example(service.id, "Ada", face(number), None) for number in range(300)]
    with forgetful.snapshot() as tx:
        assert tx.changes(service.id, 0) is None
        rows = tx.connection.execute(text("SELECT count(*) FROM change")).scalar_one()
    assert rows < 100
    assert changes(forgetful, service, 290).put == [example.key for example in added[290:]]
    with forgetful.begin() as tx:
        tx.delete_subjects(service.id)
    with forgetful.snapshot() as tx:
        assert tx.changes(service.id, 0) is None


def test_a_service_that_is_gone_has_no_revision(store: Store) -> None:
    with store.snapshot() as tx:
        with pytest.raises(ServiceNotFound):
            tx.revision(10**9)
        with pytest.raises(ServiceNotFound):
            tx.changes(10**9, 0)


def test_vectors_come_in_pieces_by_ascending_key(store: Store, service: Service) -> None:
    added = [add(store, service, f"Person {number % 2}", number) for number in range(5)]
    add(store, make_service(store), "Foreign", 99)
    with store.snapshot() as tx:
        first = tx.vectors(service.id, limit=3)
        rest = tx.vectors(service.id, after_key=int(first.keys[-1]), limit=3)
        none = tx.vectors(service.id, after_key=int(rest.keys[-1]))
        subjects = [tx.subject(service.id, f"Person {number}") for number in range(2)]
    assert [len(first), len(rest), len(none)] == [3, 2, 0]
    keys = np.concatenate([first.keys, rest.keys])
    assert keys.dtype == first.subjects.dtype == np.int64
    assert keys.tolist() == [example.key for example in added]
    owners = np.concatenate([first.subjects, rest.subjects]).tolist()
    assert owners == [subject.id for subject in (subjects * 3)[:5] if subject is not None]
    matrix = np.concatenate([first.matrix, rest.matrix])
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, [face(number).vector for number in range(5)])


def test_vectors_of_chosen_keys_skip_what_is_not_there(store: Store, service: Service) -> None:
    with store.begin() as tx:
        added = [tx.add_example(service.id, "Ada", face(number), None) for number in range(700)]
    foreign = add(store, make_service(store), "Ada")
    asked = [example.key for example in reversed(added)]
    with store.snapshot() as tx:
        found = tx.vectors_of(service.id, [*asked, foreign.key, 10**12, asked[0]])
        nothing = tx.vectors_of(service.id, [])
        read, matrix = tx.embeddings_of("tiny", [*asked, 10**12])
        others, none = tx.embeddings_of("other", asked[:3])
        identified = tx.identify(service.id, [*asked, foreign.key, 10**12])
    assert found.keys.tolist() == sorted(asked)
    assert found.matrix.shape == (700, DIMENSION)
    assert len(nothing) == 0
    assert read.tolist() == sorted(asked)
    assert np.array_equal(matrix, found.matrix)
    assert others.tolist() == []
    assert none.shape == (0, 0)
    assert identified == {example.key: example for example in added}


def test_the_models_of_a_service_are_known(store: Store, service: Service) -> None:
    with store.snapshot() as tx:
        assert tx.model(service.id) is None
    add(store, service, "Ada", 1)
    add(store, service, "Grace", 2)
    with store.snapshot() as tx:
        assert tx.model(service.id) == "tiny"


def test_a_write_that_finds_nothing_to_do_changes_no_index(store: Store, service: Service) -> None:
    add(store, service, "Ada")
    since = revision(store, service)
    with store.begin() as tx:
        tx.delete_examples(service.id, [uuid4()])
        tx.delete_examples_of(service.id, "Nobody")
    assert changes(store, service, since) == Changes(since + 2, False, [], [])
