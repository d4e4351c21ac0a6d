"""Copies of services: of one moment, resumable, and erased where the original was."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import func, select

from knownface.errors import InvalidRequest, NameTaken, ServiceNotFound
from knownface.store import Store
from knownface.store.examples import New
from knownface.store.tables import copying, uncopied
from knownface.types import Application, CopyState, Service, ServiceType
from stored import digest, face, make_service, picture

WORKER = "here"
Held = list[tuple[str, list[float], bytes | None]]


@pytest.fixture
def source(store: Store) -> Service:
    """A service of six faces of three people, some without their photograph, and a name alone."""
    service = make_service(store)
    with store.begin() as tx:
        tx.create_subject(service.id, "Nobody")
        tx.add_examples(
            service.id,
            [New(f"Person {n % 3}", face(n), picture(n) if n % 2 else None) for n in range(6)],
        )
    return service


def clone(store: Store, source: Service, name: str = "copy") -> Service:
    with store.begin() as tx:
        parent = tx.application(source.application)
        assert parent is not None
        target = tx.create_service(parent, name, ServiceType.RECOGNITION, digest(name))
        tx.queue_copy(source.id, target.id)
    return target


def work(store: Store, target: Service, *, most: int = 4, rounds: int = 99) -> int:
    """Copy some pieces as a worker does, and return how many it took."""
    with store.begin() as tx:
        assert tx.claim_copy(target.id, WORKER)
    for done in range(rounds):
        with store.begin() as tx:
            if not tx.copy_some(target.id, WORKER, most=most, most_bytes=10**9):
                return done + 1
    return rounds


def held(store: Store, service: Service) -> Held:
    """Return everything that can be known of a service's faces, but for their ids."""
    with store.snapshot() as tx:
        page = tx.examples(service.id, subject=None, page=0, size=100)
        found: Held = []
        for one in page.examples:
            stored = tx.embedding(service.id, one.image_id)
            assert stored is not None
            shown = tx.photograph(service.id, one.image_id)
            content = shown.content if shown else None
            found.append((one.subject, stored[1].vector.tolist(), content))
        return found


def names(store: Store, service: Service) -> Sequence[str]:
    with store.snapshot() as tx:
        return tx.subject_names(service.id)


def test_a_copy_holds_what_the_source_held_under_ids_of_its_own(
    store: Store, source: Service
) -> None:
    target = clone(store, source)
    assert work(store, target) == 2
    assert held(store, target) == held(store, source)
    assert names(store, target) == names(store, source)
    with store.snapshot() as tx:
        job = tx.copy_of(target.id)
        assert job is not None
        assert (job.state, job.done, job.total, job.working) == (CopyState.DONE, 6, 6, False)
        ids = [
            {one.image_id for one in tx.examples(s.id, subject=None, page=0, size=9).examples}
            for s in (source, target)
        ]
        assert tx.model(target.id) == tx.model(source.id)
        assert len(tx.vectors(target.id)) == 6
    assert not ids[0] & ids[1]


def test_writes_to_the_source_do_not_get_into_the_copy(store: Store, source: Service) -> None:
    before = held(store, source)
    target = clone(store, source)
    work(store, target, most=2, rounds=1)
    with store.begin() as tx:
        tx.add_example(source.id, "Late", face(9), None)
        tx.rename_subject(source.id, "Person 0", "Person 1")
        tx.rename_subject(source.id, "Person 2", "Somebody")
    work(store, target)
    assert held(store, target) == before
    assert names(store, target) == ["Nobody", "Person 0", "Person 1", "Person 2"]


def test_who_is_deleted_before_being_copied_is_not_in_the_copy(
    store: Store, source: Service
) -> None:
    target = clone(store, source)
    with store.begin() as tx:
        tx.delete_subject(source.id, "Person 1")
    work(store, target)
    assert [name for name, *_ in held(store, target)] == ["Person 0", "Person 2"] * 2
    assert names(store, target) == ["Nobody", "Person 0", "Person 2"]
    with store.snapshot() as tx:
        job = tx.copy_of(target.id)
        assert job is not None
        assert (job.state, job.done) == (CopyState.DONE, 6)


def test_changes_of_the_copy_while_it_is_made_are_kept(store: Store, source: Service) -> None:
    target = clone(store, source)
    work(store, target, most=1, rounds=1)
    with store.begin() as tx:
        tx.add_example(target.id, "New", face(9), None)
        tx.delete_subject(target.id, "Person 1")
        tx.rename_subject(target.id, "Person 2", "Person 0")
    work(store, target)
    assert sorted(name for name, *_ in held(store, target)) == ["New", *["Person 0"] * 4]


def test_a_subject_of_the_copy_that_is_emptied_meanwhile_still_gets_its_other_examples(
    store: Store, source: Service
) -> None:
    target = clone(store, source)
    work(store, target, most=1, rounds=1)
    with store.begin() as tx:
        copied = tx.examples(target.id, subject="Person 0", page=0, size=9).examples
        assert len(copied) == 1
        tx.move_examples(target.id, [copied[0].image_id], "Person 1")
    work(store, target)
    with store.snapshot() as tx:
        seen, _ = tx.browse_subjects(target.id, search="", page=0, size=9)
    assert {one.name: one.examples for one in seen} == {
        "Nobody": 0,
        "Person 0": 1,
        "Person 1": 3,
        "Person 2": 2,
    }


def test_a_subject_outlives_its_last_example_while_others_are_to_come(
    store: Store, source: Service
) -> None:
    target = clone(store, source)
    work(store, target, most=1, rounds=1)
    with store.begin() as tx:
        (first,) = tx.examples(target.id, subject=None, page=0, size=9).examples
        tx.delete_examples(target.id, [first.image_id])
    work(store, target)
    assert [name for name, *_ in held(store, target)] == [f"Person {n}" for n in (1, 2, 0, 1, 2)]


def test_a_copy_that_is_emptied_while_it_is_made_stays_empty(store: Store, source: Service) -> None:
    target = clone(store, source)
    work(store, target, most=1, rounds=1)
    with store.begin() as tx:
        assert tx.delete_examples_of(target.id, None) == 1
    work(store, target)
    assert held(store, target) == []
    assert names(store, target) == ["Nobody"]
    with store.snapshot() as tx:
        job = tx.copy_of(target.id)
        assert job is not None
        assert job.state is CopyState.DONE


def test_another_process_goes_on_where_one_was_killed(store: Store, source: Service) -> None:
    target = clone(store, source)
    work(store, target, most=2, rounds=1)
    with store.begin() as tx:
        assert not tx.claim_copy(target.id, "there")
        assert tx.claim_copy(target.id, "there", seconds=-1)
        assert not tx.copy_some(target.id, WORKER, most=2, most_bytes=1)
        tx.release_copy(target.id, "there")
    with store.snapshot() as tx:
        (job,) = tx.open_copies()
        assert (job.done, job.working) == (2, False)
    work(store, target)
    assert held(store, target) == held(store, source)


def test_a_piece_holds_no_more_photographs_than_it_may(store: Store, source: Service) -> None:
    target = clone(store, source)
    with store.begin() as tx:
        assert tx.claim_copy(target.id, WORKER)
        assert tx.copy_some(target.id, WORKER, most=99, most_bytes=301)
        job = tx.copy_of(target.id)
        assert job is not None
        assert job.done == 3  # the fourth has the second photograph of 300 bytes


def test_without_its_source_a_copy_fails_and_keeps_what_it_has(
    store: Store, source: Service
) -> None:
    target = clone(store, source)
    work(store, target, most=2, rounds=1)
    with store.begin() as tx:
        tx.delete_service(source.id)
    work(store, target)
    with store.snapshot() as tx:
        job = tx.copy_of(target.id)
        assert job is not None
        assert (job.state, job.source_id) == (CopyState.FAILED, None)
        assert "has been deleted" in str(job.failure)
        assert tx.open_copies() == []
    assert len(held(store, target)) == 2


def test_with_a_copy_goes_everything_of_it(store: Store, source: Service) -> None:
    target = clone(store, source)
    work(store, target, most=2, rounds=1)
    with store.begin() as tx:
        tx.delete_service(target.id)
        with pytest.raises(ServiceNotFound):
            tx.revision(target.id)
        for table in (copying, uncopied):
            assert tx.connection.execute(select(func.count()).select_from(table)).scalar() == 0
        assert not tx.copy_some(target.id, WORKER, most=2, most_bytes=1)
        assert tx.counts(source.id) == (4, 6)


def test_what_is_not_settled_is_not_copied(store: Store, source: Service) -> None:
    target = clone(store, source)
    with pytest.raises(InvalidRequest, match="itself being copied"):
        clone(store, target, "copy of the copy")
    with store.begin() as tx:
        for one in (source, target):
            with pytest.raises(InvalidRequest, match="being copied"):
                tx.refuse_while_copied(one.id)
    work(store, target)
    with store.begin() as tx:
        tx.refuse_while_copied(source.id)
        tx.queue_reembedding(source.id, "other")
    with pytest.raises(InvalidRequest, match="another embedder"):
        clone(store, source, "late")


def test_an_empty_service_is_copied_at_once(store: Store) -> None:
    empty = make_service(store)
    target = clone(store, empty)
    assert work(store, target) == 1
    with store.begin() as tx:
        tx.add_example(target.id, "Ada", face(1, model="another"), None)
    assert [name for name, *_ in held(store, target)] == ["Ada"]


def test_renaming_knows_the_names_of_the_application(store: Store, source: Service) -> None:
    target = clone(store, source)
    with store.begin() as tx:
        other = tx.create_application("Other")
        tx.create_service(other, "Door", ServiceType.DETECTION, digest("door"))
    with store.begin() as tx:
        tx.rename_service(target.id, "door")
        tx.rename_service(target.id, "DOOR")
        with pytest.raises(NameTaken):
            tx.rename_service(target.id, source.name.upper())
        tx.rename_application(other.id, "OTHER")
        with pytest.raises(NameTaken):
            tx.rename_application(other.id, source.application.upper())
        assert tx.application("other") == Application(other.id, "OTHER")
        renamed = tx.service(target.id)
        assert renamed is not None
        assert renamed.name == "DOOR"
        with pytest.raises(ServiceNotFound):
            tx.rename_service(10**9, "x")
