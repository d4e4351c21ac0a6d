"""Subjects and examples: the promises of the store, each kept on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import func, select

from knownface.errors import (
    InvalidRequest,
    ModelMismatch,
    ServiceNotFound,
    SubjectExists,
    SubjectNotFound,
)
from knownface.store import Store, Transaction
from knownface.store.tables import metadata
from knownface.types import Example, Service
from stored import DIMENSION, face, make_service, picture


@pytest.fixture
def service(store: Store) -> Service:
    return make_service(store)


def add(store: Store, service: Service, subject: str, number: int = 1) -> Example:
    with store.begin() as tx:
        return tx.add_example(service.id, subject, face(number), picture(number))


def names(store: Store, service: Service) -> list[str]:
    with store.snapshot() as tx:
        return tx.subject_names(service.id)


def ids(store: Store, service: Service, subject: str | None = None) -> list[UUID]:
    with store.snapshot() as tx:
        page = tx.examples(service.id, subject=subject, page=0, size=1000)
    assert page.total == len(page.examples)
    return [one.image_id for one in page.examples]


def test_an_example_keeps_its_embedding_and_its_photograph(store: Store, service: Service) -> None:
    before = datetime.now(UTC)
    added = add(store, service, "Ada", 7)
    with store.snapshot() as tx:
        assert tx.example(service.id, added.image_id) == added
        found = tx.embedding(service.id, added.image_id)
        photograph = tx.photograph(service.id, added.image_id)
    assert found is not None
    assert found[0] == added
    assert found[1].model == "tiny"
    assert found[1].vector.dtype == np.float32
    np.testing.assert_array_equal(found[1].vector, face(7).vector)
    assert photograph is not None
    assert photograph.content == picture(7).content
    assert photograph.media_type == "image/jpeg"
    assert photograph.created_at is not None
    assert photograph.created_at.utcoffset() == timedelta(0)
    assert before <= photograph.created_at <= datetime.now(UTC)


def test_an_example_without_a_photograph_has_none(store: Store, service: Service) -> None:
    with store.begin() as tx:
        added = tx.add_example(service.id, "Ada", face(1), None)
    with store.snapshot() as tx:
        assert tx.photograph(service.id, added.image_id) is None
        assert tx.embedding(service.id, added.image_id) is not None


def test_an_empty_photograph_is_kept(store: Store, service: Service) -> None:
    with store.begin() as tx:
        added = tx.add_example(service.id, "Ada", face(1), picture(1, 0))
    with store.snapshot() as tx:
        photograph = tx.photograph(service.id, added.image_id)
    assert photograph is not None
    assert photograph.content == b""


def test_a_subject_is_found_whatever_its_letter_case_and_composition(
    store: Store, service: Service
) -> None:
    first = add(store, service, "Zoe\u0301 Straße")
    second = add(store, service, "ZOÉ STRASSE")
    assert first.subject == second.subject == "Zoé Straße"
    assert names(store, service) == ["Zoé Straße"]
    assert ids(store, service, "zoé strasse") == [first.image_id, second.image_id]


@pytest.mark.parametrize(
    "name", ["a/b;c\\d", "😀" * 255, "\u1fb7" * 255, "\U0001d160" * 255, " a "]
)
def test_unusual_names_are_kept_as_typed(store: Store, service: Service, name: str) -> None:
    with store.begin() as tx:
        created = tx.create_subject(service.id, name)
    with store.snapshot() as tx:
        assert tx.subject(service.id, name) == created
        assert tx.subject(service.id, name.upper()) == created


@pytest.mark.parametrize("name", ["half \ud83d", "nul \0"])
def test_a_name_that_no_database_can_hold_is_refused(
    store: Store, service: Service, name: str
) -> None:
    with store.begin() as tx, pytest.raises(InvalidRequest):
        tx.create_subject(service.id, name)


def test_a_subject_is_not_created_twice(store: Store, service: Service) -> None:
    with store.begin() as tx:
        tx.create_subject(service.id, "Ada")
    with pytest.raises(SubjectExists), store.begin() as tx:
        tx.create_subject(service.id, "ADA")
    assert names(store, service) == ["Ada"]


def test_subjects_are_listed_in_the_order_of_their_creation(store: Store, service: Service) -> None:
    for name in ("Zoe", "Ada", "Mia"):
        add(store, service, name)
    assert names(store, service) == ["Zoe", "Ada", "Mia"]


def test_renaming_changes_the_name_everywhere(store: Store, service: Service) -> None:
    added = add(store, service, "Ada")
    with store.begin() as tx:
        assert tx.rename_subject(service.id, "ada", "Grace").updated
    with store.snapshot() as tx:
        assert tx.subject(service.id, "Ada") is None
        renamed = tx.example(service.id, added.image_id)
    assert renamed is not None
    assert renamed.subject == "Grace"


def test_renaming_onto_itself_changes_nothing(store: Store, service: Service) -> None:
    add(store, service, "Zo\u00e9")
    with store.begin() as tx:
        assert not tx.rename_subject(service.id, "ZO\u00c9", "Zoe\u0301").updated


def test_renaming_may_change_letter_case_alone(store: Store, service: Service) -> None:
    add(store, service, "ada")
    with store.begin() as tx:
        assert tx.rename_subject(service.id, "ada", "Ada").updated
    assert names(store, service) == ["Ada"]


def test_renaming_onto_another_subject_merges_the_two(store: Store, service: Service) -> None:
    of_ada = add(store, service, "Ada", 1)
    of_grace = add(store, service, "Grace", 2)
    later = add(store, service, "Ada", 3)
    with store.begin() as tx:
        assert tx.rename_subject(service.id, "Ada", "GRACE").updated
    assert names(store, service) == ["Grace"]
    assert ids(store, service, "Grace") == [of_ada.image_id, of_grace.image_id, later.image_id]


def test_an_unknown_subject_cannot_be_renamed_or_deleted(store: Store, service: Service) -> None:
    with pytest.raises(SubjectNotFound, match="Nobody"), store.begin() as tx:
        tx.rename_subject(service.id, "Nobody", "Ada")
    with pytest.raises(SubjectNotFound, match="Nobody"), store.begin() as tx:
        tx.delete_subject(service.id, "Nobody")


def test_a_deleted_subject_is_gone_with_all_its_examples(store: Store, service: Service) -> None:
    added = add(store, service, "Ada")
    other = add(store, service, "Grace")
    with store.begin() as tx:
        assert tx.delete_subject(service.id, "ADA").name == "Ada"
    with store.snapshot() as tx:
        assert tx.embedding(service.id, added.image_id) is None
        assert tx.photograph(service.id, added.image_id) is None
    assert ids(store, service) == [other.image_id]


def test_all_subjects_are_deleted_at_once(store: Store, service: Service) -> None:
    add(store, service, "Ada", 1)
    add(store, service, "Ada", 2)
    with store.begin() as tx:
        tx.create_subject(service.id, "Nobody yet")
        assert tx.delete_subjects(service.id) == 2
    with store.snapshot() as tx:
        assert tx.counts(service.id) == (0, 0)


def test_a_subject_goes_with_its_last_example(store: Store, service: Service) -> None:
    first, second = add(store, service, "Ada", 1), add(store, service, "Ada", 2)
    with store.begin() as tx:
        tx.delete_examples(service.id, [first.image_id])
    assert names(store, service) == ["Ada"]
    with store.begin() as tx:
        tx.delete_examples(service.id, [second.image_id])
    assert names(store, service) == []


def test_examples_are_deleted_in_the_order_asked_for_skipping_unknown_and_repeated(
    store: Store, service: Service
) -> None:
    first, second, third = (add(store, service, "Ada", number) for number in range(3))
    foreign = add(store, make_service(store), "Ada")
    asked = [third.image_id, uuid4(), foreign.image_id, first.image_id, third.image_id]
    with store.begin() as tx:
        assert tx.delete_examples(service.id, asked) == [third, first]
    assert ids(store, service) == [second.image_id]
    with store.begin() as tx:
        assert tx.delete_examples(service.id, []) == []


def test_deleting_examples_by_name_takes_the_subject_along(store: Store, service: Service) -> None:
    add(store, service, "Ada", 1)
    add(store, service, "Ada", 2)
    other = add(store, service, "Grace", 3)
    with store.begin() as tx:
        tx.create_subject(service.id, "Nobody yet")
        assert tx.delete_examples_of(service.id, "ADA") == 2
        assert tx.delete_examples_of(service.id, "Nobody yet") == 0
        assert tx.delete_examples_of(service.id, "Unknown") == 0
    assert names(store, service) == ["Grace"]
    assert ids(store, service) == [other.image_id]


def test_deleting_all_examples_spares_subjects_that_never_had_one(
    store: Store, service: Service
) -> None:
    add(store, service, "Ada", 1)
    add(store, service, "Grace", 2)
    with store.begin() as tx:
        tx.create_subject(service.id, "Nobody yet")
        assert tx.delete_examples_of(service.id, None) == 2
    assert names(store, service) == ["Nobody yet"]


def test_pages_are_stable_and_oldest_first(store: Store, service: Service) -> None:
    added = [add(store, service, f"Person {number % 3}", number) for number in range(7)]
    with store.snapshot() as tx:
        pages = [tx.examples(service.id, subject=None, page=page, size=3) for page in range(4)]
        one = tx.examples(service.id, subject="person 0", page=1, size=2)
    assert [len(page.examples) for page in pages] == [3, 3, 1, 0]
    assert [example for page in pages for example in page.examples] == added
    assert {(page.total, page.size) for page in pages} == {(7, 3)}
    assert [page.number for page in pages] == [0, 1, 2, 3]
    assert one.examples == (added[6],)
    assert one.total == 3


@pytest.mark.parametrize(
    ("subject", "page", "size", "total"),
    [("Unknown", 0, 10, 0), (None, 10**30, 10, 1), (None, 0, 0, 1), ("Ada", 1, 2000, 1)],
)
def test_a_page_of_nothing_still_tells_the_total(
    store: Store, service: Service, subject: str | None, page: int, size: int, total: int
) -> None:
    add(store, service, "Ada")
    with store.snapshot() as tx:
        found = tx.examples(service.id, subject=subject, page=page, size=size)
    assert (found.examples, found.number, found.size, found.total) == ((), page, size, total)


def test_another_services_examples_are_unknown(store: Store, service: Service) -> None:
    added = add(store, service, "Ada")
    other = make_service(store)
    with store.begin() as tx:
        assert tx.example(other.id, added.image_id) is None
        assert tx.embedding(other.id, added.image_id) is None
        assert tx.photograph(other.id, added.image_id) is None
        assert tx.subject(other.id, "Ada") is None
        assert tx.identify(other.id, [added.key]) == {}
        assert tx.delete_examples(other.id, [added.image_id]) == []
        assert tx.delete_examples_of(other.id, None) == 0
        assert tx.delete_subjects(other.id) == 0
    assert ids(store, service) == [added.image_id]


@pytest.mark.parametrize("other", [face(2, model="huge"), face(2, dimension=DIMENSION + 1)])
def test_embeddings_of_two_models_do_not_mix(store: Store, service: Service, other: object) -> None:
    added = add(store, service, "Ada")
    with pytest.raises(ModelMismatch, match="tiny"), store.begin() as tx:
        tx.add_example(service.id, "Grace", other, None)  # type: ignore[arg-type]  # of a parameter
    assert names(store, service) == ["Ada"]
    with store.begin() as tx:
        tx.delete_examples(service.id, [added.image_id])
        tx.add_example(service.id, "Grace", other, None)  # type: ignore[arg-type]  # of a parameter
    assert names(store, service) == ["Grace"]


WRITES: list[Callable[[Transaction, int], object]] = [
    lambda tx, service: tx.create_subject(service, "Ada"),
    lambda tx, service: tx.rename_subject(service, "Ada", "Grace"),
    lambda tx, service: tx.delete_subject(service, "Ada"),
    lambda tx, service: tx.move_examples(service, [uuid4()], "Grace"),
    lambda tx, service: tx.delete_subjects(service),
    lambda tx, service: tx.add_example(service, "Ada", face(1), None),
    lambda tx, service: tx.delete_examples(service, [uuid4()]),
    lambda tx, service: tx.delete_examples_of(service, "Ada"),
    lambda tx, service: tx.delete_examples_of(service, None),
]


@pytest.mark.parametrize("number", range(len(WRITES)))
def test_nothing_is_written_to_a_service_that_is_gone(
    store: Store, service: Service, number: int
) -> None:
    with store.begin() as tx:
        tx.delete_service(service.id)
    with pytest.raises(ServiceNotFound), store.begin() as tx:
        WRITES[number](tx, service.id)


def test_an_exception_undoes_the_whole_transaction(store: Store, service: Service) -> None:
    add(store, service, "Ada")

    def interrupted() -> None:
        with store.begin() as tx:
            tx.add_example(service.id, "Grace", face(2), picture(2))
            tx.delete_subject(service.id, "Ada")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(store, service) == ["Ada"]
    add(store, service, "Mia", 3)


def test_a_snapshot_sees_one_state_however_long_it_lasts(store: Store, service: Service) -> None:
    add(store, service, "Ada", 1)
    with store.snapshot() as early:
        before = early.subject_names(service.id)
        add(store, service, "Grace", 2)
        assert early.subject_names(service.id) == before
        assert early.counts(service.id) == (1, 1)
    assert names(store, service) == ["Ada", "Grace"]


def test_a_deletion_leaves_no_row_behind(store: Store, service: Service) -> None:
    for number in range(4):
        add(store, service, f"Person {number}", number)
    with store.begin() as tx:
        tx.delete_subject(service.id, "Person 0")
        tx.delete_examples(
            service.id,
            [tx.examples(service.id, subject="Person 1", page=0, size=1).examples[0].image_id],
        )
        tx.rename_subject(service.id, "Person 2", "Person 3")
        tx.delete_service(service.id)
        left = {
            table: tx.connection.execute(
                select(func.count()).select_from(metadata.tables[table])
            ).scalar_one()
            for table in ("subject", "example", "embedding", "photograph", "change", "api_key")
        }
    assert set(left.values()) == {0}, left
