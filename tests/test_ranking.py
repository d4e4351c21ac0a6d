"""What every index backend may rely on when it hands rows over to be ranked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knownface.index.ranking import NOBODY, Candidates, Chosen, Hit, cosines, ranked
from knownface.types import F32, F64, I64

AXES: F32 = np.eye(4, dtype=np.float32)


def chosen(scores: list[float], subjects: list[int], k: int, error: float) -> list[int]:
    """Return which rows are chosen when they are offered one by one."""
    candidates = Candidates(k)
    for key, (score, subject) in enumerate(zip(scores, subjects, strict=True)):
        middle: F64 = np.array([score])
        if score + error > candidates.floor:
            candidates.offer(middle - error, middle + error, np.array([key]), np.array([subject]))
    return sorted(candidates.chosen().keys.tolist())


def test_whoever_may_have_a_place_within_the_bounds_is_chosen() -> None:
    assert chosen([0.6, 0.9, 0.1, 0.85], [0, 1, 2, 3], 1, error=0.05) == [1, 3]
    assert chosen([0.6, 0.9, 0.1, 0.85], [0, 1, 2, 3], 2, error=0.05) == [1, 3]
    assert chosen([0.6, 0.9, 0.1, 0.85], [0, 1, 2, 3], 3, error=0.05) == [0, 1, 3]
    assert chosen([0.6, 0.9, 0.1, 0.85], [0, 1, 2, 3], 9, error=0.05) == [0, 1, 2, 3]


def test_of_a_subject_only_what_may_be_its_best_is_chosen() -> None:
    assert chosen([0.9, 0.8, 0.7, 0.5, 0.48], [7, 7, 7, 8, 8], 2, error=0.02) == [0, 3, 4]


SCORES = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(-0.1, 0.1), st.integers(0, 5)), min_size=1, max_size=60
)


@settings(max_examples=200, deadline=None)
@given(rows=SCORES, k=st.integers(1, 7))
def test_the_chosen_have_the_places_of_all(rows: list[tuple[float, float, int]], k: int) -> None:
    truth, off, subjects = (np.array(column) for column in zip(*rows, strict=True))
    middle, error, candidates = truth + off, 0.1 + 1e-9, Candidates(k)
    for part in np.array_split(np.arange(len(rows)), 3):
        candidates.offer(middle[part] - error, middle[part] + error, part, subjects[part])
    found = candidates.chosen()
    assert places(truth, found, k) == places(truth, Chosen(np.arange(len(rows)), subjects), k)


def places(truth: F64, rows: Chosen, k: int) -> list[int]:
    best: dict[int, int] = {}
    for key in sorted(rows.keys.tolist(), key=lambda key: (-truth[key], key)):
        best.setdefault(dict(zip(*map(np.ndarray.tolist, rows), strict=True))[key], key)
    return list(best.values())[:k]


def test_the_chosen_are_ranked_by_their_true_cosines() -> None:
    rows = Chosen(np.arange(4), np.arange(4))
    found = ranked(AXES[:2], [rows, NOBODY], 2, AXES.__getitem__)
    assert found == [[Hit(0, 0, 1.0), Hit(1, 1, 0.0)], []]


@pytest.mark.parametrize("at_a_time", [1, 3, 100])
def test_vectors_are_asked_for_in_bounded_numbers_and_once(
    monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr("knownface.index.ranking._READ_ROWS", at_a_time)
    vectors = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked: list[int] = []

    def source(keys: I64) -> F32:
        assert len(keys) <= at_a_time
        asked.extend(keys.tolist())
        return vectors[keys]

    keys: I64 = np.array([9, 2, 17, 5])
    one, other = Chosen(keys, keys), Chosen(keys[:2], keys[:2])
    found = ranked(vectors[[2, 9]], [one, other], 9, source)
    assert asked == [2, 5, 9, 17]
    assert [hit.key for hit in found[0]] == sorted(
        keys.tolist(), key=lambda key: -cosines(vectors[2], vectors[key][None])[0]
    )
    assert [hit.key for hit in found[1]] == [9, 2]


def test_a_cosine_has_the_same_bits_in_every_batch() -> None:
    rows = np.random.default_rng(0).standard_normal((3000, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    together = cosines(rows[0], rows)
    assert [cosines(rows[0], row[None])[0] for row in rows] == together.tolist()
    assert np.array_equal(cosines(rows[0], np.asfortranarray(rows)), together)
    assert np.array_equal(cosines(rows[0], rows[::-1])[::-1], together)
