"""What a collection promises over each database: it answers as the store would, at every moment."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from faces import (
    CALIBRATION,
    DIMENSION,
    MODEL,
    add,
    code_of,
    names,
    open_collection,
    unit_vectors,
)
from knownface.collection import FaceCollection
from knownface.errors import InvalidRequest, ModelMismatch, ServiceNotFound
from knownface.index import cosines
from knownface.keeping import follow_erasures, kept_index
from knownface.store import Store
from knownface.types import F32, Example
from stored import make_service

ANNA, BORIS, CLARA, DAVID = unit_vectors(4)


def test_a_face_is_found_as_soon_as_it_is_stored(store: Store) -> None:
    service = make_service(store)
    faces = open_collection(store, service)
    assert faces.search(ANNA[None], 3) == [[]]
    example = add(store, service, "Anna", ANNA)
    [match] = faces.search(ANNA[None], 3)[0]
    assert (match.subject, match.image_id) == ("Anna", example.image_id)
    assert match.cosine == cosines(ANNA, ANNA[None])[0]
    assert match.similarity == CALIBRATION.similarity(match.cosine)


def test_a_face_stored_by_another_process_is_found_at_once(store: Store, database_url: str) -> None:
    service = make_service(store)
    other = Store.open(database_url)
    mine, theirs = open_collection(store, service), open_collection(other, service)
    for number, vector in enumerate(unit_vectors(5)):
        add(store, service, f"person {number}", vector)
        assert names(theirs, vector, 1) == [f"person {number}"]
        assert names(mine, vector, 1) == [f"person {number}"]
    with store.begin() as tx:
        tx.delete_subject(service.id, "person 2")
    assert "person 2" not in names(theirs, unit_vectors(5)[2])
    other.close()


def test_the_best_example_of_each_subject_counts(store: Store) -> None:
    service = make_service(store)
    add(store, service, "Anna", BORIS)
    best = add(store, service, "Anna", ANNA)
    add(store, service, "Clara", CLARA)
    matches = open_collection(store, service).search(np.stack([ANNA, CLARA]), 5)
    assert [match.subject for match in matches[1]] == ["Clara", "Anna"]
    assert matches[0][0].image_id == best.image_id
    assert [match.subject for match in matches[0]] == ["Anna", "Clara"]
    cosines_found = [match.cosine for match in matches[0]]
    assert cosines_found == sorted(cosines_found, reverse=True)


def test_a_renamed_subject_has_its_new_name(store: Store) -> None:
    service = make_service(store)
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    assert names(faces, ANNA) == ["Anna"]
    with store.begin() as tx:
        tx.rename_subject(service.id, "anna", "Hannah")
    assert names(faces, ANNA) == ["Hannah"]


def test_merged_subjects_are_found_as_one(store: Store) -> None:
    service = make_service(store)
    add(store, service, "Anna", ANNA)
    add(store, service, "Anne", BORIS)
    faces = open_collection(store, service)
    assert names(faces, ANNA) == ["Anna", "Anne"]
    with store.begin() as tx:
        tx.rename_subject(service.id, "Anne", "Anna")
    assert names(faces, ANNA) == ["Anna"]
    assert names(faces, BORIS) == ["Anna"]


def test_a_deleted_subject_is_never_found_again(store: Store) -> None:
    service = make_service(store)
    for name, vector in (("Anna", ANNA), ("Boris", BORIS)):
        add(store, service, name, vector)
    faces = open_collection(store, service)
    assert names(faces, ANNA) == ["Anna", "Boris"]
    with store.begin() as tx:
        tx.delete_subject(service.id, "Anna")
    assert names(faces, ANNA) == ["Boris"]
    assert len(faces) == 1
    add(store, service, "Anna", CLARA)
    [anna] = [match for match in faces.search(ANNA[None], 9)[0] if match.subject == "Anna"]
    assert anna.cosine == cosines(ANNA, CLARA[None])[0]


def test_a_deleted_example_no_longer_speaks_for_its_subject(store: Store) -> None:
    service = make_service(store)
    best = add(store, service, "Anna", ANNA)
    other = add(store, service, "Anna", BORIS)
    faces = open_collection(store, service)
    assert faces.search(ANNA[None], 1)[0][0].image_id == best.image_id
    with store.begin() as tx:
        tx.delete_examples(service.id, [best.image_id])
    assert faces.search(ANNA[None], 1)[0][0].image_id == other.image_id


@pytest.mark.parametrize("emptied", ["subjects", "examples"])
def test_an_emptied_collection_holds_what_came_after(store: Store, emptied: str) -> None:
    service = make_service(store)
    for number, vector in enumerate(unit_vectors(20)):
        add(store, service, f"person {number}", vector)
    faces = open_collection(store, service)
    assert len(names(faces, ANNA, 50)) == 20
    with store.begin() as tx:
        if emptied == "subjects":
            tx.delete_subjects(service.id)
        else:
            tx.delete_examples_of(service.id, None)
    add(store, service, "Anna", ANNA)
    assert names(faces, ANNA, 50) == ["Anna"]
    assert len(faces) == 1


def test_refreshing_takes_deleted_faces_out_of_memory_without_a_search(store: Store) -> None:
    service = make_service(store)
    for name, vector in (("Anna", ANNA), ("Boris", BORIS)):
        add(store, service, name, vector)
    faces = open_collection(store, service)
    faces.refresh()
    assert not faces.built
    names(faces, ANNA)
    with store.begin() as tx:
        tx.delete_subject(service.id, "Anna")
    assert len(faces) == 2
    faces.refresh()
    assert len(faces) == 1


def test_services_do_not_see_each_others_faces(store: Store) -> None:
    one, other = make_service(store), make_service(store)
    add(store, one, "Anna", ANNA)
    add(store, other, "Boris", ANNA)
    assert names(open_collection(store, one), ANNA) == ["Anna"]
    assert names(open_collection(store, other), ANNA) == ["Boris"]


def test_an_index_that_fell_too_far_behind_is_built_anew(database_url: str) -> None:
    store = Store.open(database_url, change_log=3)
    service = make_service(store)
    example = add(store, service, "Anna", ANNA)
    add(store, service, "Boris", BORIS)
    faces = open_collection(store, service)
    assert names(faces, ANNA) == ["Anna", "Boris"]
    with store.begin() as tx:
        tx.delete_examples(service.id, [example.image_id])
        for _ in range(260):
            tx.create_subject(service.id, "nobody")
            tx.delete_subject(service.id, "nobody")
        tx.rename_subject(service.id, "Boris", "Bob")
    add(store, service, "Clara", CLARA)
    with store.begin() as tx:
        for _ in range(300):
            tx.delete_examples_of(service.id, "nobody")
    assert sorted(names(faces, ANNA)) == ["Bob", "Clara"]
    assert len(faces) == 2
    store.close()


def test_embeddings_of_another_model_are_refused_by_naming_both(store: Store) -> None:
    service = make_service(store)
    add(store, service, "Anna", ANNA, model="portrait")
    faces = open_collection(store, service)
    with pytest.raises(ModelMismatch, match=rf"portrait.*{MODEL}.*KNOWNFACE_EMBEDDER=portrait"):
        faces.search(ANNA[None], 1)
    with store.begin() as tx:
        tx.delete_subjects(service.id)
    add(store, service, "Boris", BORIS)
    assert names(faces, BORIS) == ["Boris"]


def test_a_model_that_changes_under_a_built_index_is_noticed(store: Store) -> None:
    service = make_service(store)
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    assert names(faces, ANNA) == ["Anna"]
    with store.begin() as tx:
        tx.delete_subjects(service.id)
    add(store, service, "Anna", ANNA, model="portrait")
    with pytest.raises(ModelMismatch, match="portrait"):
        faces.search(ANNA[None], 1)


def test_stored_embeddings_of_another_width_are_refused(store: Store) -> None:
    service = make_service(store)
    add(store, service, "Anna", unit_vectors(1, DIMENSION + 1)[0])
    with pytest.raises(ModelMismatch, match=f"{DIMENSION + 1}.*{DIMENSION}"):
        open_collection(store, service).search(ANNA[None], 1)


def test_embeddings_of_another_width_cannot_be_searched_for(store: Store) -> None:
    faces = open_collection(store, make_service(store))
    with pytest.raises(InvalidRequest, match=f"{MODEL} has {DIMENSION} numbers"):
        faces.search(unit_vectors(1, DIMENSION - 1), 1)


def test_no_embeddings_and_no_places_give_no_matches(store: Store) -> None:
    service = make_service(store)
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    assert faces.search(np.empty((0, DIMENSION), np.float32), 3) == []
    assert faces.search(np.stack([ANNA, BORIS]), 0) == [[], []]


def test_the_index_of_a_deleted_service_is_freed(store: Store) -> None:
    service = make_service(store)
    add(store, service, "Anna", ANNA)
    faces = open_collection(store, service)
    assert names(faces, ANNA) == ["Anna"]
    with store.begin() as tx:
        tx.delete_service(service.id)
    with pytest.raises(ServiceNotFound):
        faces.search(ANNA[None], 1)
    assert not faces.built


POOL = np.concatenate([unit_vectors(6), -unit_vectors(2), unit_vectors(3)])
NAMES = st.sampled_from(["Anna", "Boris", "Clara", "David", "Émile"])
VECTORS = st.integers(0, len(POOL) - 1)


class Known(NamedTuple):
    """An example as the test remembers it."""

    example: Example
    vector: F32


def test_an_index_is_kept_and_taken_up_when_all_that_it_held_is_gone(
    store: Store, tmp_path: Path
) -> None:
    root = tmp_path / "indexes"
    follow_erasures(store, root)
    service = make_service(store)
    first, second = (
        open_collection(store, service, kept=kept_index(root, service.id)) for _ in range(2)
    )
    only = add(store, service, "Anna", POOL[0])
    assert first.search(POOL[:1], 1)[0]
    first.keep()
    with store.begin() as tx:
        tx.delete_examples(service.id, [only.image_id])
    assert second.search(POOL[:1], 1) == [[]]


class CollectionMachine(RuleBasedStateMachine):
    """Two processes search one service while it changes; a plain list of examples is the truth.

    Both keep their index in one folder, where nothing may be of those who were deleted.
    """

    store: Store
    root: Path

    def __init__(self) -> None:
        super().__init__()
        self.service = make_service(self.store)
        self.folder = self.root / str(self.service.id)
        self.collections = [self.started() for _ in range(2)]
        self.known: dict[str, list[Known]] = {}

    def started(self) -> FaceCollection:
        kept = kept_index(self.root, self.service.id)
        return open_collection(self.store, self.service, kept=kept)

    @rule(who=st.integers(0, 1))
    def keep(self, who: int) -> None:
        self.collections[who].keep()

    @rule(who=st.integers(0, 1))
    def restart(self, who: int) -> None:
        self.collections[who].close()
        self.collections[who] = self.started()

    @rule(which=st.integers(0, 3))
    def lose_a_file(self, which: int) -> None:
        for path in sorted(self.folder.glob("*.rows"))[which : which + 1]:
            path.unlink()

    @invariant()
    def nothing_deleted_is_in_a_file(self) -> None:
        stored = {code_of(one.vector) for examples in self.known.values() for one in examples}
        content = b"".join(path.read_bytes() for path in self.folder.glob("*") if path.is_file())
        assert [v for v in POOL if code_of(v) in content and code_of(v) not in stored] == []

    def teardown(self) -> None:
        for collection in self.collections:
            collection.close()

    @rule(name=NAMES, vector=VECTORS)
    def add(self, name: str, vector: int) -> None:
        example = add(self.store, self.service, name, POOL[vector])
        self.known.setdefault(name, []).append(Known(example, POOL[vector]))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), new=NAMES)
    def rename(self, data: st.DataObject, new: str) -> None:
        old = data.draw(st.sampled_from(sorted(self.known)))
        with self.store.begin() as tx:
            tx.rename_subject(self.service.id, old, new)
        if old != new:
            self.known.setdefault(new, []).extend(self.known.pop(old))

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def delete_subject(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.known)))
        with self.store.begin() as tx:
            tx.delete_subject(self.service.id, name)
        del self.known[name]

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def delete_some_examples(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.known)))
        gone = data.draw(st.integers(1, len(self.known[name])))
        ids = [known.example.image_id for known in self.known[name][:gone]]
        with self.store.begin() as tx:
            tx.delete_examples(self.service.id, ids)
        del self.known[name][:gone]
        if not self.known[name]:
            del self.known[name]

    @rule()
    def delete_all(self) -> None:
        with self.store.begin() as tx:
            tx.delete_subjects(self.service.id)
        self.known.clear()

    @rule(who=st.integers(0, 1), queries=st.lists(VECTORS, max_size=6), k=st.integers(1, 6))
    def search(self, who: int, queries: list[int], k: int) -> None:
        answers = self.collections[who].search(POOL[np.array(queries, np.int64)], k)
        for query, matches in zip(queries, answers, strict=True):
            found = [(match.subject, match.image_id, match.cosine) for match in matches]
            assert found == self.expected(POOL[query], k)

    def expected(self, query: F32, k: int) -> list[tuple[str, object, float]]:
        best = []
        for name, examples in self.known.items():
            ranked = [
                (-float(cosines(query, one.vector[None])[0]), one.example.key, name, one.example)
                for one in examples
            ]
            best.append(min(ranked, key=lambda row: row[:2]))
        best.sort(key=lambda row: row[:2])
        return [(name, example.image_id, -cosine) for cosine, _, name, example in best[:k]]


@pytest.mark.no_cover
def test_any_history_gives_the_answers_of_a_plain_list(store: Store, tmp_path: Path) -> None:
    class Machine(CollectionMachine):
        pass

    Machine.store, Machine.root = store, tmp_path / "indexes"
    follow_erasures(store, Machine.root)
    limits = settings(
        max_examples=25,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(Machine, settings=limits)
