"""What the exact search is made of: codes with proven bounds, slots, helpers."""

from __future__ import annotations

import threading
import time
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knownface.index.codes import LEVELS, Probe, encode, levels, step_of
from knownface.index.crew import Crew
from knownface.index.slots import Slots
from knownface.types import F32


def units(count: int, dimension: int, seed: int = 0, power: float = 1.0) -> F32:
    """Return unit vectors; a high power makes a few numbers large and the others small."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    rows = np.sign(rows) * np.abs(rows) ** power
    return cast("F32", (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def test_a_look_at_many_rows_leaves_no_thread_spinning() -> None:
    codes = np.ones((16_384, 128), np.int8)
    probe, rows = Probe(units(1, 128)), np.ones(len(codes))
    used = []
    for _ in range(2):
        probe.close(0, codes, rows, rows)
        before = time.process_time()
        time.sleep(0.05)  # nothing is waited for: what is asked is who works meanwhile
        used.append(time.process_time() - before)
    assert min(used) < 0.02


@settings(max_examples=60, deadline=None)
@given(
    dimension=st.sampled_from([1, 2, 3, 17, 64, 128, 320, 512]),
    count=st.integers(1, 9),
    power=st.sampled_from([0.1, 1.0, 4.0, 30.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_cosine_lies_outside_the_bounds_of_its_product(
    dimension: int, count: int, power: float, seed: int
) -> None:
    queries, rows = units(count, dimension, seed), units(40, dimension, seed + 1, power)
    probe = Probe(queries)
    truth = queries.astype(np.float64) @ rows.astype(np.float64).T
    found = levels(rows)
    for level in set(found.tolist()):
        members = found == level
        coded = encode(rows[members], step_of(level))
        steps, errors, lengths = (
            np.array([value]) for value in (step_of(level), coded.errors.max(), coded.lengths.max())
        )
        products = probe.products(coded.codes, probe.room(len(coded.codes)))
        for number in range(count):
            scale, error = probe.bounds(number, steps, errors, lengths)
            alone = probe.products_with(number, coded.codes)
            assert np.array_equal(products[:, number], alone)
            assert np.array_equal(
                alone,
                coded.codes.astype(np.int64) @ probe.products_with(number, _axes(dimension)),
            )
            assert (np.abs(alone * scale - truth[number, members]) < error).all()
            assert error < 0.1
            near, nearer = probe.close(number, coded.codes, steps[[0] * len(alone)], errors)
            assert (np.abs(near - truth[number, members]) < nearer).all()
            assert nearer < error


def _axes(dimension: int) -> np.ndarray[tuple[int, int], np.dtype[np.int8]]:
    return np.eye(dimension, dtype=np.int8)


@pytest.mark.parametrize(("dimension", "power"), [(8, 1.0), (128, 1.0), (512, 1.0), (64, 9.0)])
def test_a_level_is_the_finest_that_can_hold_the_numbers_of_a_row(
    dimension: int, power: float
) -> None:
    rows = units(50, dimension, power=power)
    for row, level in zip(rows, levels(rows).tolist(), strict=True):
        assert np.abs(row).max() <= 127 * step_of(level) * (1 + 1e-6)
        assert level == LEVELS - 1 or np.abs(row).max() > 127 * step_of(level + 1) * (1 - 1e-6)


def test_rows_without_a_length_have_some_level_too() -> None:
    rows = np.zeros((4, 3), np.float32)
    rows[1:] = [[np.nan, 1, 0], [np.inf, 0, 0], [1.5, 0, 0]]
    assert levels(rows).tolist() == [LEVELS - 1, 0, 0, 0]
    assert encode(rows, step_of(0)).finite.tolist() == [True, False, False, True]


KEYS = st.lists(st.sampled_from([*range(30), -1, 2**63 - 1, -(2**63)]), max_size=40, unique=True)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "pop"]), KEYS, st.integers(0, 2**31 - 41))), KEYS)
def test_slots_are_a_dict(changes: list[tuple[str, list[int], int]], asked: list[int]) -> None:
    slots, truth = Slots(), dict[int, int]()
    for change, keys, first in changes:
        column = np.array(keys, np.int64)
        if change == "put":
            values = range(first, first + len(keys))
            slots.put(column, np.array(values, np.int64))
            truth.update(zip(keys, values, strict=True))
        else:
            assert slots.pop(column).tolist() == [truth.pop(key, -1) for key in keys]
        assert len(slots) == len(truth)
    found = slots.find(np.array(asked, np.int64))
    assert found.tolist() == [truth.get(key, -1) for key in asked]


def test_slots_hold_many_keys_in_little_memory_and_give_it_back() -> None:
    slots = Slots()
    keys = np.random.default_rng(0).permutation(100_000).astype(np.int64) * 1024
    for part in np.split(keys, 100):
        slots.put(part, part // 1024)
    assert np.array_equal(slots.find(keys), keys // 1024)
    assert (slots.find(keys + 1) == -1).all()
    assert slots.nbytes <= 36 * len(keys)
    for part in np.split(keys, 100):
        slots.pop(part)
    assert len(slots) == 0
    assert slots.nbytes < 2000


def test_a_long_search_is_shared_by_those_who_are_free() -> None:
    crew = Crew(3)
    together = threading.Barrier(3, timeout=30)
    workers: list[int] = []

    def work() -> None:
        together.wait()
        workers.append(threading.get_ident())

    crew.share(work)
    assert len(set(workers)) == 3


def test_a_search_does_not_wait_for_helpers_who_have_not_begun() -> None:
    crew = Crew(2)
    occupied, free = threading.Barrier(3, timeout=30), threading.Event()

    def occupy() -> None:
        occupied.wait()
        free.wait(30)

    other = threading.Thread(target=crew.share, args=(occupy,))
    other.start()
    occupied.wait()
    workers: list[int] = []
    crew.share(lambda: workers.append(threading.get_ident()))
    assert workers == [threading.get_ident()]
    free.set()
    other.join()


def test_what_goes_wrong_in_a_helper_is_raised() -> None:
    crew = Crew(2)
    caller = threading.get_ident()
    begun = threading.Barrier(2, timeout=30)

    def work() -> None:
        begun.wait()
        if threading.get_ident() != caller:
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        crew.share(work)
