"""What every index backend may rely on when it hands rows over to be ranked."""

from __future__ import annotations

import numpy as np

from knownface.index.ranking import Hit, Ranking, cosines
from knownface.types import F32, I64

AXES: F32 = np.eye(4, dtype=np.float32)


def offer(ranking: Ranking, scores: list[float], vectors: F32, *, error: float) -> None:
    middle = np.array(scores, np.float32)
    keys = np.arange(len(scores))
    ranking.offer(middle - error, middle + error, keys, keys, vectors.__getitem__)


def test_rows_are_ranked_by_their_true_cosines_whatever_they_scored() -> None:
    ranking = Ranking(AXES[0], 1)
    rough = [0.6, 0.9, 0.1, -0.4]  # the coarse scores of quantised rows
    offer(ranking, rough, AXES, error=1.5)
    assert ranking.hits() == [Hit(0, 0, 1.0)]


def test_rows_under_the_floor_may_be_offered_in_vain() -> None:
    ranking = Ranking(AXES[0], 1)
    offer(ranking, [1.0, 0.0, 0.0, 0.0], AXES, error=1e-6)
    assert ranking.floor == 1.0
    offer(ranking, [-1.0, 0.0, 0.0, 0.0], -AXES, error=1e-6)
    assert ranking.hits() == [Hit(0, 0, 1.0)]


def test_a_row_that_cannot_have_a_place_is_not_looked_at() -> None:
    ranking = Ranking(AXES[0], 2)
    rows = np.repeat(AXES, 100, axis=0)
    looked_at: list[int] = []

    def vectors(chosen: I64) -> F32:
        looked_at.extend(chosen.tolist())
        return rows[chosen]

    middle = rows[:, 0] * np.float32(0.5)
    middle[7] += np.float32(0.05)
    ranking.offer(
        middle - np.float32(0.01),
        middle + np.float32(0.01),
        np.arange(400),
        np.arange(400) // 50,
        vectors,
    )
    assert looked_at == [7, *range(50, 100)]
    assert ranking.hits() == [Hit(7, 0, 1.0), Hit(50, 1, 1.0)]


def test_nothing_offered_gives_no_hits() -> None:
    assert Ranking(AXES[0], 3).hits() == []


def test_a_cosine_has_the_same_bits_in_every_batch() -> None:
    rows = np.random.default_rng(0).standard_normal((3000, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    together = cosines(rows[0], rows)
    assert [cosines(rows[0], row[None])[0] for row in rows] == together.tolist()
    assert np.array_equal(cosines(rows[0], np.asfortranarray(rows)), together)
    assert np.array_equal(cosines(rows[0], rows[::-1])[::-1], together)
