"""What every index backend may rely on when it hands rows over to be ranked."""

from __future__ import annotations

import numpy as np

from knownface.index.ranking import Hit, Ranking, cosines

AXES = np.eye(4, dtype=np.float32)
NUMBERS = np.arange(4)


def test_rows_are_ranked_by_their_true_cosines_whatever_they_scored() -> None:
    ranking = Ranking(AXES[0], 1, tolerance=0.5)
    rough = np.array([0.6, 0.9, 0.1, -0.4], np.float32)  # the coarse score of a quantised row
    ranking.offer(rough, NUMBERS, NUMBERS, AXES)
    assert ranking.hits() == [Hit(0, 0, 1.0)]


def test_rows_under_the_floor_may_be_offered_in_vain() -> None:
    ranking = Ranking(AXES[0], 1, tolerance=1e-6)
    ranking.offer(AXES @ AXES[0], NUMBERS, NUMBERS, AXES)
    ranking.offer((-AXES) @ AXES[0], NUMBERS + 10, NUMBERS + 10, -AXES)
    assert ranking.hits() == [Hit(0, 0, 1.0)]


def test_nothing_offered_gives_no_hits() -> None:
    assert Ranking(AXES[0], 3, tolerance=1e-6).hits() == []


def test_a_cosine_has_the_same_bits_in_every_batch() -> None:
    rows = np.random.default_rng(0).standard_normal((3000, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    together = cosines(rows[0], rows)
    assert [cosines(rows[0], row[None])[0] for row in rows] == together.tolist()
    assert np.array_equal(cosines(rows[0], np.asfortranarray(rows)), together)
    assert np.array_equal(cosines(rows[0], rows[::-1])[::-1], together)
