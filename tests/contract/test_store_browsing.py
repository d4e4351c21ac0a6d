"""Looking through a collection page by page, and filing examples under other names."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from knownface.errors import SubjectNotFound, WouldMerge
from knownface.store import Changes, SeenSubject, Store
from knownface.store.examples import New
from knownface.types import Service
from stored import face, make_service, picture


@pytest.fixture
def service(store: Store) -> Service:
    return make_service(store)


def add(store: Store, service: Service, *names: str, pictured: bool = True) -> list[UUID]:
    faces = [New(name, face(i), picture(i) if pictured else None) for i, name in enumerate(names)]
    with store.begin() as tx:
        return [one.image_id for one in tx.add_examples(service.id, faces)]


def create(store: Store, service: Service, *names: str) -> None:
    with store.begin() as tx:
        for name in names:
            tx.create_subject(service.id, name)


def subjects(
    store: Store, service: Service, search: str = "", page: int = 0, size: int = 50
) -> tuple[list[SeenSubject], int]:
    with store.snapshot() as tx:
        return tx.browse_subjects(service.id, search=search, page=page, size=size)


def names(store: Store, service: Service, search: str = "", page: int = 0, size: int = 50) -> str:
    return " ".join(one.name for one in subjects(store, service, search, page, size)[0])


def examples(store: Store, service: Service, subject: str | None) -> list[UUID]:
    with store.snapshot() as tx:
        seen, _ = tx.browse_examples(service.id, subject_name=subject, page=0, size=50)
    return [one.image_id for one in seen]


def test_subjects_are_browsed_by_name_whatever_the_letter_case_and_the_accents(
    store: Store, service: Service
) -> None:
    create(store, service, "Zoe", "ada", "Änne", "Anna", "Ben", "Straße", "Αθηνά", "ÉMILE")
    assert names(store, service) == "ada Anna Änne Ben ÉMILE Straße Zoe Αθηνά"


def test_names_that_are_listed_alike_come_in_one_order_on_all_pages(
    store: Store, service: Service
) -> None:
    create(store, service, "Anne", "Änne", "Ânne")
    assert [names(store, service, page=page, size=1) for page in range(4)] == [
        *("Anne", "Änne", "Ânne"),
        "",
    ]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", "100%_sure Ann Müller Ole_Mann Zoë"),
        ("  ", "100%_sure Ann Müller Ole_Mann Zoë"),
        ("ANN", "Ann Ole_Mann"),
        ("muller", "Müller"),
        ("MÜLL", "Müller"),
        ("zoe", "Zoë"),
        ("%", "100%_sure"),
        ("_", "100%_sure Ole_Mann"),
        ("nobody", ""),
    ],
)
def test_a_search_finds_what_is_anywhere_in_a_name(
    store: Store, service: Service, search: str, found: str
) -> None:
    create(store, service, "Zoë", "Ole_Mann", "Müller", "Ann", "100%_sure")
    assert names(store, service, search) == found
    assert subjects(store, service, search, size=1)[1] == len(found.split())


def test_a_subject_is_shown_by_its_oldest_photograph(store: Store, service: Service) -> None:
    add(store, service, "Ada", pictured=False)
    first, _ = add(store, service, "Ada", "Ada")
    create(store, service, "Bob")
    assert subjects(store, service)[0] == [
        SeenSubject("Ada", 3, first),
        SeenSubject("Bob", 0, None),
    ]


def test_another_service_shows_none_of_it(store: Store, service: Service) -> None:
    mine = add(store, service, "Ada")[0]
    other = make_service(store)
    assert subjects(store, other) == ([], 0)
    assert examples(store, other, None) == []
    with store.snapshot() as tx:
        assert tx.pictured(service.id, mine)
        assert not tx.pictured(other.id, mine)


def test_a_renamed_subject_is_listed_at_its_new_place(store: Store, service: Service) -> None:
    create(store, service, "Ada", "Bob", "Cleo")
    with store.begin() as tx:
        tx.rename_subject(service.id, "Ada", "Dora")
    assert names(store, service) == "Bob Cleo Dora"
    assert names(store, service, "ada") == ""
    assert names(store, service, "DOR") == "Dora"


def test_examples_are_browsed_oldest_first(store: Store, service: Service) -> None:
    ada, bob, again = add(store, service, "Ada", "Bob", "Ada")
    assert examples(store, service, "ADA") == [ada, again]
    assert examples(store, service, None) == [ada, bob, again]
    assert examples(store, service, "Nobody") == []
    with store.snapshot() as tx:
        page, total = tx.browse_examples(service.id, subject_name=None, page=1, size=2)
        assert tx.browse_examples(service.id, subject_name=None, page=2, size=2) == ([], 3)
    assert ([(one.image_id, one.subject, one.pictured) for one in page], total) == (
        [(again, "Ada", True)],
        3,
    )
    assert page[0].created_at.tzinfo is not None


# Renaming that asks before it merges


def test_a_merge_that_was_not_asked_for_says_what_it_would_do_and_does_nothing(
    store: Store, service: Service
) -> None:
    add(store, service, "Ada", "Ada", "Grace")
    told = r"subject Grace already, with 1 example.*2 examples"
    with pytest.raises(WouldMerge, match=told), store.begin() as tx:
        tx.rename_subject(service.id, "Ada", "grace", merge=False)
    assert names(store, service) == "Ada Grace"


def test_a_merge_that_was_asked_for_is_told_as_one(store: Store, service: Service) -> None:
    add(store, service, "Ada", "Grace")
    with store.begin() as tx:
        assert tx.rename_subject(service.id, "Ada", "Ann", merge=False) == (True, False)
        assert tx.rename_subject(service.id, "Ann", "ann", merge=False) == (True, False)
        assert tx.rename_subject(service.id, "Ann", "Grace") == (True, True)
    assert subjects(store, service)[0][0].examples == 2


# Moving


def move(store: Store, service: Service, ids: Sequence[UUID], subject: str) -> list[UUID]:
    with store.begin() as tx:
        moved = tx.move_examples(service.id, ids, subject)
    assert {one.subject for one in moved} <= {subject}
    return [one.image_id for one in moved]


def test_moved_examples_belong_to_the_other_subject_in_the_index_too(
    store: Store, service: Service
) -> None:
    first, second, of_grace = add(store, service, "Ada", "Ada", "Grace")
    with store.snapshot() as tx:
        before = tx.revision(service.id)
        key = tx.example(service.id, second)
    assert key is not None

    assert move(store, service, [second, uuid4(), second], "Grace") == [second]

    assert examples(store, service, "Ada") == [first]
    assert examples(store, service, "Grace") == [second, of_grace]
    with store.snapshot() as tx:
        assert tx.changes(service.id, before) == Changes(before + 1, False, [key.key], [])


def test_examples_can_be_moved_to_a_subject_that_did_not_exist(
    store: Store, service: Service
) -> None:
    first, second = add(store, service, "Ada", "Ada")
    assert move(store, service, [first], "Grace") == [first]
    assert [(one.name, one.examples) for one in subjects(store, service)[0]] == [
        ("Ada", 1),
        ("Grace", 1),
    ]
    assert examples(store, service, "Ada") == [second]


def test_a_subject_whose_last_example_is_moved_away_goes(store: Store, service: Service) -> None:
    ada, _ = add(store, service, "Ada", "Grace")
    create(store, service, "Empty")
    assert move(store, service, [ada], "Grace") == [ada]
    assert names(store, service) == "Empty Grace"


def test_moving_nothing_makes_no_subject(store: Store, service: Service) -> None:
    ada = add(store, service, "Ada")[0]
    assert move(store, service, [uuid4()], "Nobody") == []
    assert move(store, service, [ada], "Ada") == []
    assert names(store, service) == "Ada"


def test_examples_of_another_service_are_not_moved(store: Store, service: Service) -> None:
    theirs = add(store, make_service(store), "Ada")
    assert move(store, service, theirs, "Mine") == []


def test_a_service_without_the_subject_says_so(store: Store, service: Service) -> None:
    with pytest.raises(SubjectNotFound), store.begin() as tx:
        tx.rename_subject(service.id, "Nobody", "Ada", merge=False)
