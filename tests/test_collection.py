"""Collections among others: overtaken searches, builds side by side, services that come and go."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from databases import with_tables
from faces import (
    CALIBRATION,
    DIMENSION,
    MODEL,
    OvertakenStore,
    add,
    names,
    open_collection,
    unit_vectors,
)
from knownface.collection import FaceCollection
from knownface.collections_by_service import Collections
from knownface.errors import ConfigurationError, ServiceNotFound, Unavailable
from knownface.index.exact import ExactIndex
from knownface.store import Store, Transaction, Vectors
from knownface.types import Embedding, Service
from knownface.vision.catalog import ModelSpec
from stored import make_service

EMBEDDER = ModelSpec(
    name=MODEL,
    task="embedder",
    family="sketch",
    file="sketch.onnx",
    input="data",
    size=(8, 8),
    dimension=DIMENSION,
    calibration=CALIBRATION,
)
ANNA, BORIS, CLARA = unit_vectors(3)


@pytest.fixture
def store(tmp_path: Path, sqlite_tables: Path) -> Iterator[OvertakenStore]:
    with_tables(tmp_path, sqlite_tables, "faces.db")
    opened = OvertakenStore.open(f"sqlite:///{tmp_path / 'faces.db'}")
    assert isinstance(opened, OvertakenStore)
    opened.prepare()
    yield opened
    opened.close()


@pytest.fixture
def service(store: OvertakenStore) -> Service:
    return make_service(store)


def write(store: Store, change: Callable[[Transaction], object]) -> Callable[[], None]:
    """Return a change as something that another client may do later, in its own transaction."""

    def act() -> None:
        with store.begin() as tx:
            change(tx)

    return act


def deleting(store: Store, service: Service, name: str) -> Callable[[], None]:
    return write(store, lambda tx: tx.delete_subject(service.id, name))


# A search that finds its index fresh takes two snapshots: the revision, then the names of the hits.


def test_a_hit_deleted_before_it_is_named_makes_way_for_the_next(
    store: OvertakenStore, service: Service
) -> None:
    for name, vector in (("Anna", ANNA), ("Boris", BORIS)):
        add(store, service, name, vector)
    faces = open_collection(store, service)
    assert names(faces, ANNA, 1) == ["Anna"]
    store.prepare(None, write(store, lambda tx: tx.delete_subject(service.id, "Anna")))
    assert names(faces, ANNA, 1) == ["Boris"]


def test_an_example_deleted_before_it_is_named_leaves_its_subject_another(
    store: OvertakenStore, service: Service
) -> None:
    best = add(store, service, "Anna", ANNA)
    other = add(store, service, "Anna", CLARA)
    faces = open_collection(store, service)
    assert faces.search(ANNA[None], 1)[0][0].image_id == best.image_id
    delete = write(store, lambda tx: tx.delete_examples(service.id, [best.image_id]))
    store.prepare(None, delete)
    assert faces.search(ANNA[None], 1)[0][0].image_id == other.image_id


def only_codes(faces: FaceCollection) -> None:
    """Let an index hold codes alone, as one does that is not small."""
    index = faces._follower.index
    assert isinstance(index, ExactIndex)
    index._originals = None


@pytest.mark.parametrize("deleted", [["Anna"], ["Anna", "Boris"]])
def test_a_vector_deleted_before_it_is_read_makes_way_for_the_next(
    store: OvertakenStore, service: Service, deleted: list[str]
) -> None:
    people = {"Anna": ANNA, "Boris": BORIS, "Clara": CLARA}
    for name, vector in people.items():
        add(store, service, name, vector)
    faces = open_collection(store, service)
    ranked = names(faces, ANNA, 3)
    only_codes(faces)

    def delete() -> None:
        for name in deleted:
            deleting(store, service, name)()

    store.prepare(None, delete)
    assert names(faces, ANNA, 1) == [name for name in ranked if name not in deleted][:1]
    store.prepare()
    # The revision, then vectors and names as of one moment.
    assert names(faces, CLARA, 1) == ["Clara"]
    assert store.snapshots == 2


def test_an_answer_whose_vectors_go_again_and_again_is_short_rather_than_wrong(
    store: OvertakenStore, service: Service
) -> None:
    for number, vector in enumerate(unit_vectors(12)):
        add(store, service, f"person {number}", vector)
    faces = open_collection(store, service)
    ranked = names(faces, ANNA, 12)
    only_codes(faces)
    overtaking: list[Callable[[], object] | None] = [None]
    for name in ranked:
        overtaking += [deleting(store, service, name), None]
    store.prepare(*overtaking)
    assert set(names(faces, ANNA, 3)) <= set(ranked[5:])


def test_a_hit_renamed_before_it_is_named_has_its_new_name(
    store: OvertakenStore, service: Service
) -> None:
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    names(faces, ANNA)
    store.prepare(None, write(store, lambda tx: tx.rename_subject(service.id, "Anna", "Hannah")))
    assert names(faces, ANNA) == ["Hannah"]


def test_subjects_merged_before_they_are_named_take_one_place(
    store: OvertakenStore, service: Service
) -> None:
    for name, vector in (("Anna", ANNA), ("Boris", BORIS), ("Clara", CLARA)):
        add(store, service, name, vector)
    faces = open_collection(store, service)
    first, second, third = names(faces, ANNA)
    store.prepare(None, write(store, lambda tx: tx.rename_subject(service.id, second, first)))
    assert names(faces, ANNA, 2) == [first, third]


def test_a_face_stored_before_a_search_begins_is_in_it_though_another_search_is_refreshing(
    store: OvertakenStore, service: Service
) -> None:
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    names(faces, ANNA)
    add(store, service, "Boris", BORIS)
    # Between this search's look at the revision and its refresh, another search does both.
    store.prepare(None, lambda: add(store, service, "Clara", CLARA))
    assert sorted(names(faces, ANNA)) == ["Anna", "Boris", "Clara"]


@pytest.mark.parametrize("emptied", [False, True])
def test_a_search_beside_a_refresh_never_misses_who_was_there_all_the_time(
    store: OvertakenStore, service: Service, monkeypatch: pytest.MonkeyPatch, emptied: bool
) -> None:
    """In one transaction Anna gets a new example for her old one, alone or with all emptied."""
    old = add(store, service, "Anna", BORIS)
    faces = open_collection(store, service)
    names(faces, ANNA)
    halfway, go_on = threading.Event(), threading.Event()

    def vectors_of(tx: Transaction, service_id: int, keys: Sequence[int]) -> Vectors:
        halfway.set()
        go_on.wait()
        return read_vectors(tx, service_id, keys)

    read_vectors = Transaction.vectors_of
    monkeypatch.setattr(Transaction, "vectors_of", vectors_of)

    def exchange(tx: Transaction) -> None:
        if emptied:
            tx.delete_subjects(service.id)
        tx.add_example(service.id, "Anna", Embedding(ANNA, MODEL), None)
        if not emptied:
            tx.delete_examples(service.id, [old.image_id])

    refresher = threading.Thread(target=faces.refresh)

    def overtake() -> None:
        write(store, exchange)()
        refresher.start()
        halfway.wait()

    # The other search stands in the middle of its refresh while this one looks into the index.
    store.prepare(None, None, None, go_on.set, after=overtake)
    assert names(faces, ANNA) == ["Anna"]
    refresher.join()


def test_an_answer_overtaken_again_and_again_is_short_rather_than_wrong(
    store: OvertakenStore, service: Service
) -> None:
    for number, vector in enumerate(unit_vectors(12)):
        add(store, service, f"person {number}", vector)
    faces = open_collection(store, service)
    ranked = names(faces, ANNA, 12)

    # Each round of a search: its hits are named, and, but for the first, the index is refreshed.
    overtaking: list[Callable[[], object] | None] = [None]
    for name in ranked:
        overtaking += [deleting(store, service, name), None]
    store.prepare(*overtaking)
    assert names(faces, ANNA, 3) == ranked[5:7]


def test_an_answer_overtaken_by_merges_keeps_the_best_of_each_subject(
    store: OvertakenStore, service: Service
) -> None:
    for number, vector in enumerate(unit_vectors(12)):
        add(store, service, f"person {number}", vector)
    faces = open_collection(store, service)
    before = faces.search(ANNA[None], 12)[0]
    best, *others = (match.subject for match in before)

    def merge(name: str) -> Callable[[], None]:
        return write(store, lambda tx: tx.rename_subject(service.id, name, best))

    overtaking: list[Callable[[], object] | None] = [None]
    for name in others:
        overtaking += [merge(name), None]
    store.prepare(*overtaking)
    assert faces.search(ANNA[None], 3)[0] == [before[0], before[6]]


def test_a_service_deleted_during_a_search_is_not_found_and_its_index_freed(
    store: OvertakenStore, service: Service
) -> None:
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    names(faces, ANNA)
    store.prepare(None, write(store, lambda tx: tx.delete_service(service.id)))
    with pytest.raises(ServiceNotFound):
        names(faces, ANNA)
    assert not faces.built


def test_a_refresh_that_fails_is_made_good_by_the_next_search(
    store: OvertakenStore, service: Service
) -> None:
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    names(faces, ANNA)
    add(store, service, "Boris", BORIS)

    def fail() -> None:
        raise Unavailable

    store.prepare(None, fail)
    with pytest.raises(Unavailable):
        names(faces, BORIS)
    assert names(faces, BORIS, 1) == ["Boris"]


def test_a_search_that_finds_the_index_fresh_does_not_wait_for_a_refresh(
    store: OvertakenStore, service: Service
) -> None:
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    names(faces, ANNA)
    with faces._follower._refreshing:
        assert names(faces, ANNA) == ["Anna"]


def test_only_so_many_names_are_remembered_and_the_others_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knownface.collection._MOST_KNOWN", 2)
    people = {"Anna": ANNA, "Boris": BORIS, "Clara": CLARA}
    with closing(Store.open(f"sqlite:///{tmp_path / 'faces.db'}")) as store:
        service = make_service(store)
        for name, vector in people.items():
            add(store, service, name, vector)
        faces = open_collection(store, service)
        for name in [*people, *people]:
            assert names(faces, people[name], 1) == [name]
            assert len(faces._recall.current().examples) <= 2


def test_many_first_searches_build_one_index(store: OvertakenStore, service: Service) -> None:
    for number in range(10):
        add(store, service, f"person {number}", ANNA)
    faces = open_collection(store, service)
    together = threading.Barrier(8)
    answers: list[list[str]] = []

    def search() -> None:
        together.wait()
        answers.append(names(faces, ANNA))

    store.prepare()
    run_all([search] * 8)
    assert answers == [[f"person {number}" for number in range(10)]] * 8
    assert store.snapshots == 8 * 2 + 1


def test_building_one_service_does_not_hold_up_another(
    store: OvertakenStore, service: Service
) -> None:
    add(store, service, "Anna", ANNA)
    other = make_service(store)
    add(store, other, "Boris", BORIS)
    collections = Collections(store, EMBEDDER)
    building, finish = threading.Event(), threading.Event()
    answers: list[list[str]] = []

    def hold() -> None:
        building.set()
        finish.wait()

    store.prepare(None, hold)
    slow = threading.Thread(target=lambda: answers.append(names(collections.get(service.id), ANNA)))
    slow.start()
    building.wait()
    assert names(collections.get(other.id), BORIS) == ["Boris"]
    assert answers == []
    finish.set()
    slow.join()
    assert answers == [["Anna"]]


def test_a_large_index_is_built_in_pieces_and_says_so(
    store: OvertakenStore,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("knownface.following._BATCH", 4)
    monkeypatch.setattr("knownface.following._REPORT_EVERY", 8)
    caplog.set_level(logging.INFO, logger="knownface.following")
    vectors = unit_vectors(30)
    for number, vector in enumerate(vectors[:21]):
        add(store, service, f"person {number}", vector)
    faces = open_collection(store, service)
    assert len(names(faces, ANNA, 100)) == 21
    assert [record.getMessage().partition(":")[2] for record in caplog.records] == [
        " 8 faces so far",
        " 16 faces so far",
        caplog.records[-1].getMessage().partition(":")[2],
    ]
    assert " 21 faces in " in caplog.records[-1].getMessage()
    for number, vector in enumerate(vectors[21:]):
        add(store, service, f"other {number}", vector)
    assert len(names(faces, ANNA, 100)) == 30
    assert not any("person" in record.getMessage() for record in caplog.records)


def test_a_small_index_is_built_without_a_word(
    store: OvertakenStore, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="knownface.following")
    add(store, service, "Anna", ANNA)
    names(open_collection(store, service), ANNA)
    assert caplog.records == []


# Collections


def test_a_collection_is_kept_until_it_is_dropped(store: OvertakenStore, service: Service) -> None:
    add(store, service, "Anna", ANNA)
    collections = Collections(store, EMBEDDER)
    faces = collections.get(service.id)
    assert collections.get(service.id) is faces
    assert collections.sizes() == {}
    names(faces, ANNA)
    assert collections.sizes() == {service.id: 1}
    collections.drop(service.id)
    assert collections.sizes() == {}
    assert names(faces, ANNA) == ["Anna"]
    assert names(collections.get(service.id), ANNA) == ["Anna"]
    collections.drop(12345)


def test_refreshing_by_service_touches_only_an_index_there_is(
    store: OvertakenStore, service: Service
) -> None:
    add(store, service, "Anna", ANNA)
    collections = Collections(store, EMBEDDER)
    collections.refresh(service.id)
    names(collections.get(service.id), ANNA)
    with store.begin() as tx:
        tx.delete_subjects(service.id)
    assert collections.sizes() == {service.id: 1}
    collections.refresh(service.id)
    assert collections.sizes() == {service.id: 0}


@pytest.mark.parametrize("look", ["get", "sizes"])
def test_services_deleted_elsewhere_are_forgotten_within_a_minute(
    store: OvertakenStore, service: Service, look: str
) -> None:
    now = 0.0
    other = make_service(store)
    collections = Collections(store, EMBEDDER, clock=lambda: now)
    for one in (service, other):
        add(store, one, "Anna", ANNA)
        names(collections.get(one.id), ANNA)
    with store.begin() as tx:
        tx.delete_service(service.id)
    now = 59.0
    assert collections.sizes() == {service.id: 1, other.id: 1}
    now = 61.0
    if look == "get":
        collections.get(other.id)
        now = 62.0
    assert collections.sizes() == {other.id: 1}


def test_sizes_are_told_while_the_database_is_away(store: OvertakenStore, service: Service) -> None:
    now = 0.0
    add(store, service, "Anna", ANNA)
    collections = Collections(store, EMBEDDER, clock=lambda: now)
    names(collections.get(service.id), ANNA)

    def fail() -> None:
        raise Unavailable

    now = 61.0
    store.prepare(fail)
    assert collections.sizes() == {service.id: 1}


def test_an_unknown_backend_stops_the_start(store: OvertakenStore) -> None:
    with pytest.raises(ConfigurationError, match="quantum"):
        Collections(store, EMBEDDER, backend="quantum")


def test_a_model_that_makes_no_embeddings_stops_the_start(store: OvertakenStore) -> None:
    detector = ModelSpec(name="spy", task="detector", family="spy", file="spy.onnx", input="data")
    with pytest.raises(ConfigurationError, match="spy"):
        Collections(store, detector)


def run_all(actions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The services whose faces were read, once for each time."""
    services: list[int] = []
    vectors = Transaction.vectors

    def counted(tx: Transaction, service_id: int, **where: int) -> Vectors:
        if not where["after_key"]:
            services.append(service_id)
        return vectors(tx, service_id, **where)

    monkeypatch.setattr(Transaction, "vectors", counted)
    return services


def some_services(store: Store, count: int) -> list[Service]:
    services = [make_service(store) for _ in range(count)]
    for service in services:
        add(store, service, "Anna", ANNA)
    return services


def test_a_hundred_small_services_within_the_budget_are_built_once_each(
    store: OvertakenStore, built: list[int]
) -> None:
    services = some_services(store, 100)
    collections = Collections(store, EMBEDDER, memory=1 << 20)
    for _ in range(3):
        for service in services:
            assert names(collections.get(service.id), ANNA) == ["Anna"]
    assert sorted(built) == sorted(service.id for service in services)


def test_beyond_the_budget_what_was_asked_for_the_longest_ago_is_given_back(
    store: OvertakenStore, built: list[int]
) -> None:
    one, two, three = some_services(store, 3)
    collections = Collections(store, EMBEDDER)
    names(collections.get(one.id), ANNA)
    size = collections.get(one.id).nbytes
    assert size > 0
    collections = Collections(store, EMBEDDER, memory=2 * size)
    built.clear()
    for service in (one, two, one, three, one, three):
        assert names(collections.get(service.id), ANNA) == ["Anna"]
        assert sum(collections.get(s.id).nbytes for s in (one, two, three)) <= 2 * size
        collections.get(service.id)
    assert built == [one.id, two.id, three.id]
    assert collections.sizes() == {one.id: 1, three.id: 1}
    names(collections.get(two.id), ANNA)
    assert built[-1] == two.id


def test_an_index_beyond_the_budget_alone_is_not_built_again_and_again(
    store: OvertakenStore, built: list[int]
) -> None:
    one, two = some_services(store, 2)
    collections = Collections(store, EMBEDDER, memory=1)
    for _ in range(3):
        names(collections.get(one.id), ANNA)
    assert built == [one.id]
    names(collections.get(two.id), ANNA)
    assert collections.sizes() == {two.id: 1}
    assert collections.get(one.id).nbytes == 0


def test_what_is_closed_holds_nothing(store: OvertakenStore, service: Service) -> None:
    add(store, service, "Anna", ANNA)
    collections = Collections(store, EMBEDDER)
    faces = collections.get(service.id)
    names(faces, ANNA)
    collections.close()
    assert not faces.built
    assert collections.sizes() == {}


def test_a_search_in_an_index_that_is_given_back_ends_well(
    store: OvertakenStore, service: Service
) -> None:
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    names(faces, ANNA)
    store.prepare(None, faces.release)
    assert names(faces, ANNA) == ["Anna"]


def test_all_indexes_are_kept_whatever_happens_to_one(
    store: OvertakenStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone, full, good = some_services(store, 3)
    collections = Collections(store, EMBEDDER, kept=tmp_path / "kept", keep_from=1)
    for service in (gone, full, good):
        names(collections.get(service.id), ANNA)
    with store.begin() as tx:
        tx.delete_service(gone.id)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / str(full.id)).write_bytes(b"in the way")
    collections.keep()
    assert (tmp_path / "kept" / str(good.id) / "state").exists()
    assert "an index is not kept" in caplog.text
    assert not (tmp_path / "kept" / str(gone.id)).exists()
