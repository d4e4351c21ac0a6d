"""The exact index erases what was removed and gives back the memory it no longer needs."""

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest

from indexes import Stored
from knownface.index.exact import ExactIndex
from knownface.types import F32, I8, I64


def units(count: int, dimension: int = 8) -> F32:
    """Return rows of unit length, all of whose codes have the same step."""
    rows = np.random.default_rng(7).choice([-1.0, 1.0, 1.1, -1.2], (count, dimension))
    return cast("F32", (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def filled(count: int, chunk_rows: int = 16) -> tuple[Stored[ExactIndex], F32]:
    index = Stored(ExactIndex(8, chunk_rows=chunk_rows, small=0))
    vectors = units(count)
    index.add(np.arange(count), np.arange(count), vectors)
    return index, vectors


def rows_held(index: Stored[ExactIndex]) -> int:
    return sum(view.used for view in index.index._snapshot.views)


@dataclass(frozen=True)
class Memory:
    """The first chunk of an index, as it lies there."""

    codes: I8
    before: I8

    @classmethod
    def of(cls, index: Stored[ExactIndex]) -> Memory:
        codes = index.index._snapshot.views[0].codes
        return cls(codes, codes.copy())

    def holds(self, rows: list[int]) -> list[bool]:
        """Say for each row whether anything is left of it, and nothing by halves."""
        left = [bool(row.any()) for row in self.codes[rows]]
        whole = self.codes[rows] == self.before[rows]
        assert whole[left].all()
        return left


def test_what_views_show_stays_as_long_as_they_are_held() -> None:
    index, vectors = filled(16)
    memory = Memory.of(index)
    views = index.index.views()
    index.add(np.arange(9), np.arange(9) + 100, vectors[:9])  # the others leave their chunk
    assert all(memory.holds(list(range(16))))
    del views
    gc.collect()
    assert not any(memory.holds(list(range(16))))


def test_a_removed_vector_is_overwritten_and_its_neighbours_are_not() -> None:
    index, _ = filled(10)
    memory = Memory.of(index)
    index.remove(np.array([3, 8]))
    assert memory.holds([3, 8]) == [False, False]
    assert all(memory.holds([row for row in range(10) if row not in (3, 8)]))


def test_a_replaced_vector_is_overwritten() -> None:
    index, vectors = filled(10)
    memory = Memory.of(index)
    index.add(np.array([3]), np.array([3]), -vectors[3:4])
    assert memory.holds([2, 3]) == [True, False]


def test_the_vectors_of_a_chunk_that_is_given_up_are_overwritten_too() -> None:
    index, _ = filled(16)
    memory = Memory.of(index)
    index.remove(np.arange(12))
    assert not any(memory.holds(list(range(12))))


def test_a_vector_is_not_overwritten_under_a_search_that_may_still_read_it() -> None:
    index, vectors = filled(10)
    oldest = index.index._snapshot  # what a search that has begun holds on to
    memory = Memory.of(index)
    index.add(np.array([50]), np.array([50]), vectors[:1])
    index.remove(np.array([3]))
    index.remove(np.array([4]))
    assert all(memory.holds(list(range(10))))
    del oldest
    assert memory.holds([2, 3, 4, 5]) == [True, False, False, True]


@pytest.mark.no_cover
def test_thousands_of_changes_during_one_search_are_let_go_of_afterwards() -> None:
    index, vectors = filled(10)
    oldest = index.index._snapshot
    memory = Memory.of(index)
    for key in range(5000):
        index.add(np.array([100 + key]), np.array([1]), vectors[:1])
        index.remove(np.array([100 + key]))
    index.remove(np.array([3]))
    del oldest
    assert memory.holds([3]) == [False]
    gc.collect()
    assert sum(isinstance(thing, type(index.index._snapshot)) for thing in gc.get_objects()) <= 1


@pytest.mark.parametrize("order", ["first", "last", "random"])
def test_memory_follows_the_number_of_faces_down(order: str) -> None:
    index, _ = filled(1000)
    keys = np.arange(1000)
    if order == "last":
        keys = keys[::-1]
    if order == "random":
        keys = np.random.default_rng(1).permutation(keys)
    for removed, key in enumerate(keys.tolist(), 1):
        index.remove(np.array([key]))
        assert rows_held(index) <= 2 * (1000 - removed) + 16
    assert rows_held(index) == 0


def test_a_face_that_comes_and_goes_forever_takes_no_more_room() -> None:
    index, vectors = filled(5)
    for key in range(100, 1100):
        index.add(np.array([key]), np.array([key]), vectors[:1])
        index.remove(np.array([key]))
        assert rows_held(index) <= 5 + 16 + 1
    found = index.search(vectors, 1)
    assert [hits[0].key for hits in found] == [0, 1, 2, 3, 4]


def test_no_search_ever_ranks_by_a_vector_that_was_overwritten_under_it() -> None:
    count = 4000
    index = Stored(ExactIndex(64, chunk_rows=4000))
    vectors = units(count, 64)
    index.add(np.arange(count), np.arange(count), vectors)
    truth = vectors @ vectors[:2].T
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for query, hits in enumerate(index.search(vectors[:2], count)):
                keys = [hit.key for hit in hits]
                found = np.array([hit.cosine for hit in hits])
                far = np.abs(found - truth[keys, query]) > 1e-5
                wrong.extend(np.array(keys)[far].tolist())

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for key in range(2, 1500):
        index.remove(np.array([key]))
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []


@pytest.mark.parametrize("replaced", [False, True])
def test_a_vector_that_a_small_index_holds_is_overwritten_or_let_go_of(replaced: bool) -> None:
    index = ExactIndex(8, small=10)
    index.add(np.arange(10), np.arange(10), units(10))
    originals = index._originals
    assert originals is not None
    held = originals._vectors[3]
    if replaced:
        index.add(np.array([3]), np.array([3]), -units(10)[3:4])
        assert np.array_equal(originals._vectors[3], -units(10)[3])
        assert np.shares_memory(originals._vectors[3], held) is False
        return
    oldest = index._snapshot
    index.remove(np.array([3]))
    assert 3 not in originals._vectors
    assert held.any()
    del oldest
    assert not held.any()


def test_an_index_asks_for_vectors_when_it_is_no_longer_small() -> None:
    index, vectors = Stored(ExactIndex(8, small=10)), units(11)
    index.add(np.arange(10), np.arange(10), vectors[:10])
    before = index.search(vectors[:3], 2)
    assert index.asked == []
    size = index.index.nbytes
    index.add(np.array([10]), np.array([10]), vectors[10:])
    assert index.index.nbytes < size
    assert [hits[0] for hits in index.search(vectors[:3], 2)] == [hits[0] for hits in before]
    assert len(index.asked) == 1
    index.clear()
    index.add(np.arange(10), np.arange(10), vectors[:10])
    assert index.search(vectors[:3], 2) == before
    assert len(index.asked) == 1


def test_a_small_index_asks_for_what_was_removed_from_it_meanwhile() -> None:
    index, vectors = Stored(ExactIndex(8, small=10)), units(10)
    index.add(np.arange(10), np.arange(10), vectors)
    originals = index.index._originals
    assert originals is not None
    originals.pop(np.array([3]))  # as between a search's choice and its look at the vectors
    assert index.search(vectors[3:4], 1)[0][0].key == 3
    assert 3 in index.asked[0]


def test_all_queries_of_a_search_ask_once_and_for_few() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((20_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = Stored(ExactIndex(64, small=0))
    index.add(np.arange(20_000), np.arange(20_000), vectors)
    index.search(vectors[:40], 1)
    assert index.asked == [list(range(40))]


def test_a_vector_that_is_gone_hides_no_other() -> None:
    index, vectors = filled(40)

    def some_gone(keys: I64) -> F32:
        rows = vectors[keys].copy()
        rows[keys < 3] = np.nan
        return rows

    (hits,) = index.index.search(vectors[1:2], 40, some_gone)
    assert sorted(hit.key for hit in hits) == list(range(3, 40))
