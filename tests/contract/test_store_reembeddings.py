"""What the store promises while a service changes its model, on each database."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from knownface.errors import InvalidRequest, ModelMismatch, ServiceNotFound
from knownface.store import Store, Transaction
from knownface.types import Embedding, LeftOut, Reembedding, ReembeddingState, Service
from stored import DIMENSION, face, make_service, picture

OLD, NEW = "tiny", "large"
ME, OTHER = "worker 1", "worker 2"


@pytest.fixture
def service(store: Store) -> Service:
    """A service with three faces, of which the last has no photograph."""
    made = make_service(store)
    with store.begin() as tx:
        for number in (1, 2, 3):
            photograph = picture(number) if number < 3 else None
            tx.add_example(made.id, f"person {number}", face(number), photograph)
    return made


def new(number: int) -> Embedding:
    return face(100 + number, model=NEW, dimension=2 * DIMENSION)


def begin(store: Store, service: Service, model: str = NEW, worker: str = ME) -> list[int]:
    """Ask for a change, claim it, and return the keys of the examples that lack an embedding."""
    with store.begin() as tx:
        assert tx.queue_reembedding(service.id, model)
        assert tx.claim(service.id, worker)
        assert tx.survey(service.id, worker)
        return tx.lacking(service.id, model)


def record(store: Store, service: Service, found: dict[int, Embedding]) -> bool:
    with store.begin() as tx:
        return tx.record(service.id, ME, found, {})


def switch(store: Store, service: Service, after_key: int = 0) -> bool:
    with store.begin() as tx:
        return tx.switch(service.id, ME, after_key=after_key)


def clean(store: Store, service: Service) -> int:
    """Remove what is left over, two examples at a time; return in how many steps."""
    last: int | None = 0
    steps = 0
    while last is not None:
        steps += 1
        with store.begin() as tx:
            last = tx.clean(service.id, ME, after_key=last, limit=2)
    return steps


def standing(store: Store, service: Service) -> Reembedding:
    with store.snapshot() as tx:
        found = tx.reembedding(service.id)
    assert found is not None
    return found


def searched(store: Store, service: Service) -> dict[int, list[float]]:
    """Return what an index is built from: the vectors by their keys."""
    with store.snapshot() as tx:
        every = tx.vectors(service.id)
        again = tx.vectors_of(service.id, every.keys.tolist())
    assert again.matrix.tolist() == every.matrix.tolist()
    return dict(zip(every.keys.tolist(), every.matrix.tolist(), strict=True))


def test_new_embeddings_are_searched_all_at_once(store: Store, service: Service) -> None:
    before = searched(store, service)
    keys = begin(store, service)
    assert keys == list(before)
    with store.begin() as tx:
        revision = tx.revision(service.id)
    for number, key in enumerate(keys):
        assert searched(store, service) == before
        assert not switch(store, service)
        assert record(store, service, {key: new(number)})
    assert standing(store, service).done == len(keys)
    assert switch(store, service)
    after = searched(store, service)
    assert after == {key: new(number).vector.tolist() for number, key in enumerate(keys)}
    with store.snapshot() as tx:
        assert tx.changes(service.id, revision) is None, "every index has to be built anew"
        assert tx.model(service.id) == NEW
        assert tx.embedders() == {NEW}
        changed = tx.service(service.id)
        image_id = tx.identify(service.id, keys[:1])[keys[0]].image_id
        stored = tx.embedding(service.id, image_id)
    assert changed is not None
    assert changed.embedder == NEW
    assert stored is not None
    assert stored[1].model == NEW
    assert clean(store, service) == 3
    assert searched(store, service) == after
    done = standing(store, service)
    assert (done.state, done.unclean, done.working) == (ReembeddingState.DONE, False, False)
    assert done.finished_at is not None
    with store.snapshot() as tx:
        assert tx.open_reembeddings() == []


def test_an_example_that_comes_late_keeps_the_change_waiting(
    store: Store, service: Service
) -> None:
    keys = begin(store, service)
    record(store, service, {key: new(key) for key in keys})
    with store.begin() as tx:
        late = tx.add_example(service.id, "late", face(9), None)
    assert not switch(store, service, after_key=keys[-1])
    with store.snapshot() as tx:
        assert tx.lacking(service.id, NEW, after_key=keys[-1]) == [late.key]
    record(store, service, {late.key: new(9)})
    assert switch(store, service, after_key=late.key)
    assert len(searched(store, service)) == 4


def test_what_is_deleted_meanwhile_is_passed_over(store: Store, service: Service) -> None:
    keys = begin(store, service)
    with store.begin() as tx:
        tx.delete_subject(service.id, "person 1")
    assert record(store, service, {key: new(key) for key in keys})
    assert standing(store, service).done == 2
    assert switch(store, service)
    assert list(searched(store, service)) == keys[1:]


def test_an_example_that_is_left_out_stays_and_comes_back(store: Store, service: Service) -> None:
    old = searched(store, service)
    keys = begin(store, service)
    with store.begin() as tx:
        assert tx.without_photograph(service.id) == 1
        assert tx.record(service.id, ME, {keys[0]: new(1), keys[1]: new(2)}, {keys[2]: "none"})
    assert switch(store, service)
    clean(store, service)
    assert list(searched(store, service)) == keys[:2]
    with store.snapshot() as tx:
        aside = tx.identify(service.id, keys)[keys[2]]
        assert tx.left_out(service.id, NEW) == [LeftOut(aside, "none")]
        assert tx.examples(service.id, subject=None, page=0, size=9).total == 3
    with pytest.raises(ModelMismatch, match=NEW), store.snapshot() as tx:
        tx.embedding(service.id, aside.image_id)

    assert begin(store, service, OLD) == keys[:2], "what is there need not be computed"
    assert (standing(store, service).done, standing(store, service).total) == (1, 3)
    record(store, service, {keys[0]: face(1), keys[1]: face(2)})
    assert switch(store, service)
    clean(store, service)
    assert searched(store, service) == old
    with store.snapshot() as tx:
        assert tx.left_out(service.id, NEW) == []


def test_what_was_left_out_is_tried_again_when_it_is_asked_for_again(
    store: Store, service: Service
) -> None:
    keys = begin(store, service)
    with store.begin() as tx:
        tx.record(service.id, ME, {}, dict.fromkeys(keys, "nothing"))
    assert switch(store, service), "it has failed"
    failed = standing(store, service)
    assert failed.state is ReembeddingState.FAILED
    assert "Not one" in str(failed.failure)
    assert begin(store, service) == keys


def test_a_change_that_failed_keeps_what_it_has(store: Store, service: Service) -> None:
    keys = begin(store, service)
    record(store, service, {keys[0]: new(1)})
    with store.begin() as tx:
        assert tx.fail(service.id, ME, "no such model")
    assert begin(store, service) == keys[1:]
    assert standing(store, service).done == 1


def test_a_cancelled_change_leaves_nothing(store: Store, service: Service) -> None:
    before = searched(store, service)
    keys = begin(store, service)
    record(store, service, {keys[0]: new(1)})
    with store.begin() as tx:
        assert tx.cancel_reembedding(service.id)
        assert not tx.cancel_reembedding(service.id)
    assert not record(store, service, {keys[1]: new(2)})
    with store.begin() as tx:
        assert tx.claim(service.id, ME)
    clean(store, service)
    assert searched(store, service) == before
    with store.snapshot() as tx:
        assert tx.lacking(service.id, NEW) == keys
        assert tx.model(service.id) == OLD


def test_one_process_at_a_time_works_on_a_service(store: Store, service: Service) -> None:
    keys = begin(store, service)
    assert standing(store, service).working
    with store.begin() as tx:
        assert not tx.claim(service.id, OTHER)
        assert tx.claim(service.id, ME)
        tx.release(service.id, ME)
        assert tx.claim(service.id, OTHER)
        assert tx.claim(service.id, ME, seconds=-1), "a claim that was not renewed is void"
    assert record(store, service, {keys[0]: new(1)})
    with store.begin() as tx:
        assert not tx.record(service.id, OTHER, {keys[1]: new(2)}, {})
        assert not tx.survey(service.id, OTHER)
        assert not tx.switch(service.id, OTHER, after_key=0)
        assert not tx.fail(service.id, OTHER, "too late")
        assert tx.clean(service.id, OTHER, after_key=0, limit=1) is None
        tx.release(service.id, OTHER)
    assert standing(store, service).working
    assert (standing(store, service).done, standing(store, service).total) == (1, 3)


def test_a_service_has_one_change_at_a_time(store: Store, service: Service) -> None:
    begin(store, service)
    with store.begin() as tx:
        assert tx.queue_reembedding(service.id, NEW), "asked for twice it is the same one"
    assert standing(store, service).working
    with pytest.raises(InvalidRequest, match=NEW), store.begin() as tx:
        tx.queue_reembedding(service.id, "huge")


def test_a_service_that_has_the_model_keeps_to_it(store: Store, service: Service) -> None:
    with store.begin() as tx:
        assert not tx.queue_reembedding(service.id, OLD)
    with store.begin() as tx:
        assert tx.embedders() == {OLD}
        tx.delete_subjects(service.id)
    with pytest.raises(ModelMismatch, match=OLD), store.begin() as tx:
        tx.add_example(service.id, "Ada", face(1, model=NEW), None)


def test_a_service_without_faces_takes_whatever_model_comes(store: Store) -> None:
    empty = make_service(store)
    for model in (OLD, NEW):
        with store.begin() as tx:
            assert tx.model(empty.id) is None
            tx.add_example(empty.id, "Ada", face(1, model=model), None)
            assert tx.model(empty.id) == model
            tx.delete_subjects(empty.id)
    begin(store, empty, "huge")
    assert switch(store, empty)
    with store.snapshot() as tx:
        assert tx.model(empty.id) == "huge"


def test_the_first_that_was_asked_for_comes_first(store: Store) -> None:
    first, second = make_service(store), make_service(store)
    for one in (second, first):
        with store.begin() as tx:
            tx.queue_reembedding(one.id, NEW)
    with store.snapshot() as tx:
        assert [job.service_id for job in tx.open_reembeddings()] == [second.id, first.id]
        assert tx.reembedding(12345) is None


def test_the_change_of_another_service_counts_for_nothing(store: Store, service: Service) -> None:
    other = make_service(store)
    with store.begin() as tx:
        assert tx.queue_reembedding(other.id, OLD)  # the model that this service's faces are of

    begin(store, service)

    assert (standing(store, service).done, standing(store, service).total) == (0, 3)


def test_a_photograph_is_read_by_its_key(store: Store, service: Service) -> None:
    with store.snapshot() as tx:
        keys = tx.lacking(service.id, NEW)
        assert [tx.content(key) for key in keys] == [picture(1).content, picture(2).content, None]
        assert tx.lacking(service.id, NEW, limit=1) == keys[:1]


def test_a_service_that_is_gone_has_no_change(store: Store, service: Service) -> None:
    begin(store, service)
    with store.begin() as tx:
        tx.delete_service(service.id)
    with store.snapshot() as tx:
        assert tx.reembedding(service.id) is None
        assert tx.service(service.id) is None
    acts: list[Callable[[Transaction], object]] = [
        lambda tx: tx.queue_reembedding(service.id, NEW),
        lambda tx: tx.record(service.id, ME, {}, {}),
        lambda tx: tx.clean(service.id, ME, after_key=0, limit=1),
        lambda tx: tx.cancel_reembedding(service.id),
    ]
    for act in acts:
        with pytest.raises(ServiceNotFound), store.begin() as tx:
            act(tx)


def test_an_unknown_example_has_no_embedding(store: Store, service: Service) -> None:
    with store.snapshot() as tx:
        assert tx.embedding(service.id, uuid4()) is None
