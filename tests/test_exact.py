"""The exact index erases what was removed and gives back the memory it no longer needs."""

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest

from knownface.index.exact import ExactIndex
from knownface.types import F32, I8


def units(count: int, dimension: int = 8) -> F32:
    """Return rows of unit length, all of whose codes have the same step."""
    rows = np.random.default_rng(7).choice([-1.0, 1.0, 1.1, -1.2], (count, dimension))
    return cast("F32", (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def filled(count: int, chunk_rows: int = 16) -> tuple[ExactIndex, F32]:
    index = ExactIndex(8, chunk_rows=chunk_rows)
    vectors = units(count)
    index.add(np.arange(count), np.arange(count), vectors)
    return index, vectors


def rows_held(index: ExactIndex) -> int:
    return sum(view.used for view in index._snapshot.views)


@dataclass(frozen=True)
class Memory:
    """The first chunk of an index, as it lies there."""

    codes: I8
    vectors: F32

    @classmethod
    def of(cls, index: ExactIndex) -> Memory:
        view = index._snapshot.views[0]
        return cls(view.codes, view.vectors)

    def holds(self, rows: list[int]) -> list[bool]:
        """Say for each row whether anything is left of it, and nothing by halves."""
        assert np.array_equal(self.codes[rows].any(axis=1), self.vectors[rows].any(axis=1))
        return [bool(row.any()) for row in self.vectors[rows]]


def test_a_removed_vector_is_overwritten_and_its_neighbours_are_not() -> None:
    index, vectors = filled(10)
    memory = Memory.of(index)
    index.remove(np.array([3, 8]))
    assert memory.holds([3, 8]) == [False, False]
    kept = [row for row in range(10) if row not in (3, 8)]
    assert np.array_equal(memory.vectors[kept], vectors[kept])
    assert all(memory.holds(kept))


def test_a_replaced_vector_is_overwritten() -> None:
    index, vectors = filled(10)
    memory = Memory.of(index)
    index.add(np.array([3]), np.array([3]), -vectors[3:4])
    assert memory.holds([2, 3, 10]) == [True, False, True]


def test_the_vectors_of_a_chunk_that_is_given_up_are_overwritten_too() -> None:
    index, _ = filled(16)
    memory = Memory.of(index)
    index.remove(np.arange(12))
    assert not any(memory.holds(list(range(12))))


def test_a_vector_is_not_overwritten_under_a_search_that_may_still_read_it() -> None:
    index, vectors = filled(10)
    oldest = index._snapshot  # what a search that has begun holds on to
    memory = Memory.of(index)
    index.add(np.array([50]), np.array([50]), vectors[:1])
    index.remove(np.array([3]))
    index.remove(np.array([4]))
    assert np.array_equal(memory.vectors[:10], vectors)
    assert all(memory.holds(list(range(11))))
    del oldest
    assert memory.holds([2, 3, 4, 5]) == [True, False, False, True]


@pytest.mark.no_cover
def test_thousands_of_changes_during_one_search_are_let_go_of_afterwards() -> None:
    index, vectors = filled(10)
    oldest = index._snapshot
    memory = Memory.of(index)
    for key in range(5000):
        index.add(np.array([100 + key]), np.array([1]), vectors[:1])
        index.remove(np.array([100 + key]))
    index.remove(np.array([3]))
    del oldest
    assert memory.holds([3]) == [False]
    gc.collect()
    assert sum(isinstance(thing, type(index._snapshot)) for thing in gc.get_objects()) <= 1


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
    index = ExactIndex(64, chunk_rows=4000)
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
