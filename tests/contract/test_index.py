"""What every index backend promises: the answers of a plain dict, searched by brute force."""

from __future__ import annotations

import math
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from indexes import Stored
from knownface.errors import ConfigurationError
from knownface.index import BACKENDS, Hit, Index, open_index
from knownface.index.exact import ExactIndex
from knownface.index.hnsw import HnswIndex
from knownface.index.segments import read_rows, write_rows
from knownface.types import F32, I64

Faces = Mapping[int, tuple[int, F32]]
Open = Callable[[int], Stored[Index]]

MAKERS: dict[str, Callable[[int], Index]] = {
    **BACKENDS,
    "exact, codes alone": lambda dimension: ExactIndex(dimension, small=0),
}
# Chunks of three rows make a handful of faces span, fill and empty many of them.
TINY: dict[str, Callable[[int], Index]] = {
    "exact, tiny chunks": lambda dimension: ExactIndex(dimension, chunk_rows=3, small=8),
    "hnsw, tiny graphs": lambda dimension: HnswIndex(dimension, chunk_rows=3, least=1, small=0),
}


@pytest.fixture(params=sorted(MAKERS | TINY))
def opener(request: pytest.FixtureRequest) -> Open:
    return lambda dimension: Stored((MAKERS | TINY)[str(request.param)](dimension))


@pytest.fixture(params=sorted(MAKERS))
def backend(request: pytest.FixtureRequest) -> Open:
    return lambda dimension: Stored(MAKERS[str(request.param)](dimension))


def units(count: int, dimension: int, seed: int = 0) -> F32:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return cast("F32", (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def numbers(values: Sequence[int]) -> I64:
    return np.array(values, np.int64)


def expected(faces: Faces, query: F32, k: int) -> list[Hit]:
    """Rank by the definition, without any of the arithmetic of the index."""
    ranked = []
    for key, (subject, vector) in faces.items():
        products = (float(a) * float(b) for a, b in zip(query, vector, strict=True))
        cosine = min(1.0, max(-1.0, float(np.float32(math.fsum(products)))))
        ranked.append(Hit(key, subject, cosine))
    best: dict[int, Hit] = {}
    for hit in sorted(ranked, key=lambda hit: (-hit.cosine, hit.key)):
        best.setdefault(hit.subject, hit)
    return list(best.values())[:k]


def pool(dimension: int) -> F32:
    """Return unit vectors with what makes ranking hard: copies, opposites, last-bit neighbours."""
    vectors = units(5, dimension)
    neighbours = vectors.copy()
    neighbours[:, 0] = np.nextafter(neighbours[:, 0], np.float32(2.0))
    axes = np.eye(2, dimension, dtype=np.float32)
    return np.concatenate([vectors, -vectors[:2], neighbours, axes])


POOL = pool(24)
KEYS = st.sampled_from([*range(1, 15), -3, 2**63 - 1, -(2**63)])
SUBJECTS = st.sampled_from([1, 2, 3, 4, 2**62])
VECTORS = st.integers(0, len(POOL) - 1)


class IndexMachine(RuleBasedStateMachine):
    """An index and a dict live through the same calls and must answer alike."""

    def __init__(self) -> None:
        super().__init__()
        self.index = self.open(POOL.shape[1])
        self.faces: dict[int, tuple[int, F32]] = {}

    def open(self, dimension: int) -> Stored[Index]:
        raise NotImplementedError

    @initialize(rows=st.lists(st.tuples(KEYS, SUBJECTS, VECTORS), max_size=12))
    def begin_with(self, rows: list[tuple[int, int, int]]) -> None:
        self.add(rows)

    @rule()
    def restart(self) -> None:
        """What is written chunk by chunk and read again is the index that it was."""
        views, given = [view for view in self.index.index.views() if view.used], self.index.given
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / str(number) for number in range(len(views))]
            for path, view in zip(paths, views, strict=True):
                write_rows(path, view)
            self.index = self.open(POOL.shape[1])
            self.index.given = given
            self.index.index.restore([read_rows(path) for path in paths])

    @rule(rows=st.lists(st.tuples(KEYS, SUBJECTS, VECTORS), max_size=7))
    def add(self, rows: list[tuple[int, int, int]]) -> None:
        keys, subjects, vectors = ([row[column] for row in rows] for column in range(3))
        self.index.add(numbers(keys), numbers(subjects), POOL[numbers(vectors)])
        self.faces.update({key: (subject, POOL[vector]) for key, subject, vector in rows})

    @rule(keys=st.lists(KEYS, max_size=8))
    def remove(self, keys: list[int]) -> None:
        self.index.remove(numbers(keys))
        for key in keys:
            self.faces.pop(key, None)

    @rule()
    def clear(self) -> None:
        self.index.clear()
        self.faces.clear()

    @rule(queries=st.lists(VECTORS, max_size=6), k=st.integers(0, 7))
    def search(self, queries: list[int], k: int) -> None:
        found = self.index.search(POOL[numbers(queries)], k)
        assert found == [expected(self.faces, POOL[query], k) for query in queries]

    @invariant()
    def its_length_is_the_number_of_faces(self) -> None:
        assert len(self.index) == len(self.faces)


@pytest.mark.no_cover
def test_any_history_gives_the_answers_of_a_dict(opener: Open) -> None:
    class Machine(IndexMachine):
        def open(self, dimension: int) -> Stored[Index]:
            return opener(dimension)

    limits = settings(max_examples=30, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(Machine, settings=limits)


def test_an_unknown_backend_is_refused_by_naming_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r'"exacct".*exact'):
        open_index("exacct", 128)


def test_nothing_is_found_in_an_empty_index(opener: Open) -> None:
    index = opener(8)
    assert index.search(units(3, 8), 5) == [[], [], []]
    index.add(numbers([1]), numbers([1]), units(1, 8))
    index.clear()
    assert index.search(units(3, 8), 5) == [[], [], []]


def test_no_queries_and_no_places_give_no_hits(opener: Open) -> None:
    index = opener(8)
    index.add(numbers([1]), numbers([1]), units(1, 8))
    assert index.search(units(0, 8), 5) == []
    assert index.search(units(2, 8), 0) == [[], []]


def test_vectors_of_another_width_are_refused_and_change_nothing(opener: Open) -> None:
    index = opener(8)
    with pytest.raises(ValueError, match="expected"):
        index.add(numbers([1, 2]), numbers([1, 1]), units(2, 9))
    with pytest.raises(ValueError, match="expected"):
        index.add(numbers([1, 2]), numbers([1]), units(2, 8))
    with pytest.raises(ValueError, match="expected"):
        index.search(units(1, 9), 1)
    assert len(index) == 0


def test_a_subject_with_thousands_of_better_examples_takes_one_place(backend: Open) -> None:
    index = backend(16)
    query = units(1, 16)
    crowd = query + np.float32(0.01) * units(20_000, 16, seed=1)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    index.add(np.arange(20_000), np.full(20_000, 7), crowd)
    others = units(30, 16, seed=2)
    index.add(np.arange(50_000, 50_030), np.arange(100, 130), others)
    faces = {key: (7, vector) for key, vector in enumerate(crowd)}
    faces |= {50_000 + i: (100 + i, vector) for i, vector in enumerate(others)}
    for k in (1, 2, 5, 31, 1000):
        assert index.search(query, k) == [expected(faces, query[0], k)]


@pytest.mark.parametrize("batch", [1, 8])
def test_faces_that_differ_in_their_last_bits_are_ranked_as_by_hand(
    backend: Open, batch: int
) -> None:
    count, dimension = 400, 128
    rng = np.random.default_rng(11)
    vectors = np.repeat(units(1, dimension), count, axis=0)
    steps = rng.choice(np.array([1 - 2e-7, 1, 1 + 2e-7], np.float32), vectors.shape)
    vectors *= steps.astype(np.float32)
    subjects = rng.integers(0, 90, count)
    index = backend(dimension)
    index.add(np.arange(count), subjects, vectors)
    faces = {key: (int(subjects[key]), vectors[key]) for key in range(count)}
    queries = np.concatenate([units(1, dimension), units(batch - 1, dimension, seed=2)])
    for k in (1, 3, 40, 90):
        assert index.search(queries, k)[0] == expected(faces, queries[0], k)


@pytest.mark.parametrize("people", [12_000, 900])
def test_among_many_faces_the_answers_are_those_of_brute_force(backend: Open, people: int) -> None:
    count, dimension = 12_000, 12
    vectors, queries = units(count, dimension), units(6, dimension, seed=9)
    subjects = np.random.default_rng(4).integers(0, people, count)
    index = backend(dimension)
    index.add(np.arange(count), subjects, vectors)
    faces = {key: (int(subjects[key]), vectors[key]) for key in range(count)}
    everything = [expected(faces, query, count) for query in queries]
    for k in (1, 5, 50, 800, count):
        wanted = [hits[:k] for hits in everything]
        assert index.search(queries, k) == wanted
        assert index.search(queries[:1], k) == wanted[:1]


@pytest.mark.parametrize("dimension", [1, 5, 96, 384])
def test_vectors_of_every_shape_are_ranked_as_by_brute_force(backend: Open, dimension: int) -> None:
    """A few large numbers or many small ones: coarse codes must not tell one row from another."""
    count = 400
    vectors = units(count, dimension).astype(np.float64)
    powers = np.array([0.0, 1.0, 3.0, 20.0])[np.arange(count) % 4, None]
    vectors = np.sign(vectors) * np.abs(vectors) ** powers
    rows = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    subjects = np.random.default_rng(4).integers(0, 150, count)
    index = backend(dimension)
    index.add(np.arange(count), subjects, rows)
    faces = {key: (int(subjects[key]), rows[key]) for key in range(count)}
    queries = np.concatenate([rows[:4], units(2, dimension, seed=9)])
    everything = [expected(faces, query, count) for query in queries]
    for k in (1, 7, 150):
        assert index.search(queries, k) == [hits[:k] for hits in everything]


def test_copies_of_one_face_tie_wherever_they_lie_and_the_oldest_leads(backend: Open) -> None:
    count, dimension = 20_011, 128
    vectors = units(count, dimension)
    keys = np.random.default_rng(3).permutation(count).astype(np.int64)
    places = [0, 1, 17, 8191, 8192, 12_345, 16_383, 20_010]
    vectors[places] = vectors[places[0]]
    index = backend(dimension)
    for start in range(0, count, 5000):
        rows = slice(start, start + 5000)
        index.add(keys[rows], keys[rows], vectors[rows])
    copies = sorted(keys[places].tolist())
    for batch in (1, 2, 4, 5, 8, 65):
        queries = np.repeat(vectors[places[:1]], batch, axis=0)
        for hits in index.search(queries, len(copies)):
            assert [hit.key for hit in hits] == copies
            assert len({hit.cosine for hit in hits}) == 1
            assert hits[0].cosine == pytest.approx(1.0, abs=1e-6)


def test_an_answer_does_not_depend_on_the_queries_beside_it(backend: Open) -> None:
    index = backend(128)
    index.add(np.arange(9000), np.arange(9000) % 700, units(9000, 128))
    queries = units(70, 128, seed=5)
    together = index.search(queries, 9)
    assert together == [index.search(query[None], 9)[0] for query in queries]
    assert together == index.search(np.asfortranarray(queries), 9)
    assert [hits[:1] for hits in together] == index.search(queries, 1)


def test_cosines_stay_within_one_even_where_rounding_exceeds_it(opener: Open) -> None:
    index = opener(3)
    long = np.array([[0.6, 0.8, 1e-3]], np.float32)
    index.add(numbers([1, 2]), numbers([1, 2]), np.concatenate([long, -long]))
    assert [hit.cosine for hit in index.search(long, 2)[0]] == [1.0, -1.0]


def test_a_row_that_is_not_a_number_is_never_found_and_hides_no_other(opener: Open) -> None:
    index = opener(4)
    vectors = units(3, 4)
    broken = vectors.copy()
    broken[1] = np.nan
    index.add(numbers([1, 2, 3]), numbers([1, 2, 3]), broken)
    for k in (1, 2, 9):
        assert {hit.key for hit in index.search(vectors[:1], k)[0]} <= {1, 3}
    assert [hit.key for hit in index.search(vectors[2:], 1)[0]] == [3]


@pytest.mark.parametrize("queries", [1, 8])
def test_a_search_needs_the_same_memory_however_many_faces_there_are(
    backend: Open, queries: int
) -> None:
    peaks = []
    for count in (20_000, 80_000):
        index = backend(64)
        index.add(np.arange(count), np.arange(count), units(count, 64))
        wanted = units(queries, 64, seed=1)
        peaks.append(peak_memory(lambda: index.search(wanted, 10)))  # noqa: B023 - called at once
    assert max(peaks) < 2_000_000  # the larger matrix has 20 480 000 bytes
    assert peaks[1] < peaks[0] + 100_000


def test_adding_or_removing_a_face_does_not_copy_the_others(backend: Open) -> None:
    index = backend(64)
    index.add(np.arange(80_000), np.arange(80_000), units(80_000, 64))
    one = units(1, 64, seed=1)
    assert peak_memory(lambda: index.add(numbers([100_000]), numbers([1]), one)) < 3_000_000
    assert peak_memory(lambda: index.remove(numbers([40_000]))) < 3_000_000


def peak_memory(action: Callable[[], object]) -> int:
    """Return how many bytes, at the most, were allocated besides those there before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        action()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.no_cover
def test_readers_see_each_call_of_the_writer_whole_or_not_at_all(opener: Open) -> None:
    """Pairs with one vector come, swap their subjects and go in single calls, while others read.

    The first pair only swaps: a reader must find it always, and always with two subjects.
    """
    dimension, rounds = 16, 300
    vectors = units(rounds, dimension)
    index = opener(dimension)
    here, there = {(0, 1), (1, 2)}, {(0, 2), (1, 1)}
    broken: list[object] = []
    done = threading.Event()

    def swap(number: int, one: int, other: int) -> None:
        pair = np.repeat(vectors[number : number + 1], 2, axis=0)
        index.add(numbers([2 * number, 2 * number + 1]), numbers([one, other]), pair)

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not done.is_set():
            wanted = [0, *rng.integers(1, rounds, 2).tolist()]
            for number, hits in zip(wanted, index.search(vectors[wanted], 3), strict=True):
                seen = {(hit.key % 2, hit.subject) for hit in hits if hit.key // 2 == number}
                if seen not in ((here, there) if number == 0 else (here, there, set())):
                    broken.append(hits)
                truth = [float(vectors[hit.key // 2] @ vectors[number]) for hit in hits]
                pairs = zip(hits, truth, strict=True)
                broken.extend(hit for hit, cosine in pairs if abs(hit.cosine - cosine) > 1e-5)

    swap(0, 1, 2)
    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, rounds):
        swap(number, 1, 2)
        swap(number, 2, 1)
        swap(0, 1 + number % 2, 2 - number % 2)
        if number > 5:
            index.remove(numbers([2 * number - 10, 2 * number - 9]))
    done.set()
    for reader in readers:
        reader.join()
    assert broken == []
