"""The figures of face recognition, by their usual definitions; pure functions of scores.

A score says how alike two faces are; `same` says whether they are of one person. A comparison is
accepted when its score lies *above* the threshold. A comparison that could not be made, for lack
of a face, scores -inf and is accepted at no threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Cosines are counted in bins of this width: finer than float32 sums are exact.
BINS: Final = 1 << 20
# A curve of more points looks no different.
POINTS: Final = 400


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold that few strangers pass, and how many of the others do.

    `accepts` of the `strangers` comparisons passed: what the point stands on. `rate` is the share
    of the `same` comparisons that passed.
    """

    wanted: float
    threshold: float
    rate: float
    accepts: int
    strangers: int
    same: int


@dataclass(frozen=True, slots=True)
class Fold:
    """How many of a fold were told right, at the threshold that was best for all the others."""

    name: str
    accuracy: float
    threshold: float
    count: int


def best_threshold(scores: F64, same: Bools) -> float:
    """Return the threshold with the fewest mistakes, half-way between two scores."""
    order = np.argsort(scores, kind="stable")
    ranked, labels = scores[order], same[order]
    missing = int(np.count_nonzero(np.isneginf(ranked)))
    # right[i]: how many are right when the i lowest are refused.
    right = np.concatenate([[0], np.cumsum(~labels)]) + np.concatenate(
        [np.cumsum(labels[::-1])[::-1], [0]]
    )
    # One cannot part equal scores, nor accept what could not be compared.
    possible = np.ones(len(scores) + 1, np.bool_)
    possible[1:-1] = ranked[1:] > ranked[:-1]
    possible[:missing] = False
    best = int(np.argmax(np.where(possible, right, -1)))
    if best == len(scores):
        return float(ranked[-1]) if len(scores) else 0.0
    below = ranked[best - 1] if best > missing else ranked[best] - 1e-6
    return float((below + ranked[best]) / 2)


def accuracy(scores: F64, same: Bools, threshold: float) -> float:
    return float(np.mean((scores > threshold) == same))


def by_fold(scores: F64, same: Bools, folds: Sequence[str]) -> list[Fold]:
    """Return the accuracy of each fold, in the order in which they first occur."""
    names = np.array(folds)
    results = []
    for name in dict.fromkeys(folds):
        inside = names == name
        threshold = best_threshold(scores[~inside], same[~inside])
        right = accuracy(scores[inside], same[inside], threshold)
        results.append(Fold(name, right, threshold, int(inside.sum())))
    return results


def made_folds(same: Bools, count: int = 10) -> list[str]:
    """Deal pairs out to folds, each with its share of both kinds, always in the same way."""
    dealt = np.zeros(len(same), np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(same == kind)
        dealt[rows] = np.arange(len(rows)) % count
    return [str(fold + 1) for fold in dealt.tolist()]


def accepted_at(scores: F64, same: Bools, rate: float) -> OperatingPoint | None:
    """Return the point where at most this share of strangers is accepted.

    None where there are too few of them for even one: such a threshold would stand on nothing.
    """
    strangers, own = np.sort(scores[~same])[::-1], scores[same]
    allowed = allowance(rate, len(strangers))
    if not 1 <= allowed < len(strangers) or not len(own):
        return None
    threshold = float(strangers[allowed])
    return OperatingPoint(
        rate,
        threshold,
        float(np.mean(own > threshold)),
        int(np.count_nonzero(strangers > threshold)),
        len(strangers),
        len(own),
    )


def allowance(rate: float, count: int) -> int:
    """Return how many of so many may pass at a rate; 0.001 of 3,000 is 3, whatever floats say."""
    return math.floor(rate * count * (1 + 1e-9))


def rates(scores: F64, same: Bools) -> tuple[F64, F64, F64]:
    """Return thresholds, falling, and the shares of strangers and of the same accepted at each.

    The first accepts nothing and the last all that could be compared.
    """
    values = np.unique(scores[np.isfinite(scores)])[::-1]
    thresholds = np.append(values, -np.inf)
    strangers, own = np.sort(scores[~same]), np.sort(scores[same])
    return thresholds, _above(strangers, thresholds), _above(own, thresholds)


def equal_error(scores: F64, same: Bools) -> tuple[float, float]:
    """Return the rate at which as many strangers are accepted as own are refused, and where.

    Between two thresholds both rates are taken to change in a straight line. Where they never meet,
    because many could not be compared, it is the last point's mean.
    """
    thresholds, false_accepts, true_accepts = rates(scores, same)
    gap = false_accepts - (1 - true_accepts)  # rises as the threshold falls
    after = int(np.argmax(gap >= 0))
    if gap[after] < 0:
        return float((false_accepts[-1] + 1 - true_accepts[-1]) / 2), float(thresholds[-2])
    if after == 0:
        return float(false_accepts[0]), float(thresholds[0])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    rate = false_accepts[after - 1] + share * (false_accepts[after] - false_accepts[after - 1])
    last = thresholds[after] if np.isfinite(thresholds[after]) else thresholds[after - 1]
    return float(rate), float(thresholds[after - 1] + share * (last - thresholds[after - 1]))


def thinned(*columns: F64, points: int = POINTS) -> tuple[F64, ...]:
    """Return curves with few enough points to draw: those along which the first two change."""
    length = len(columns[0])
    if length <= points:
        return columns
    x, y = (np.abs(np.diff(column, prepend=column[:1])) for column in columns[:2])
    # As far along the curve, and as far along its small rates, which are drawn in logarithms.
    way = np.cumsum(x + y + np.abs(np.diff(np.log10(np.maximum(columns[0], 1e-9)), prepend=-9.0)))
    wanted = np.linspace(way[0], way[-1], points)
    kept = np.unique(np.append(np.searchsorted(way, wanted).clip(0, length - 1), [0, length - 1]))
    return tuple(column[kept] for column in columns)


class Tally:
    """Cosines counted, not kept: any number of them in eight megabytes."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)

    def __len__(self) -> int:
        return int(self._counts.sum())

    def add(self, cosines: NDArray[np.floating]) -> None:
        scaled = (np.asarray(cosines, np.float64).ravel() + 1) * (BINS / 2)
        self._counts += np.bincount(np.clip(scaled, 0, BINS - 1).astype(np.int64), minlength=BINS)

    def above(self, cosine: float) -> int:
        """Return how many cosines reach this one, within the width of a bin."""
        start = math.ceil((cosine + 1) * (BINS / 2) - 1e-6)
        return int(self._counts[max(0, start) :].sum())

    def threshold(self, rate: float) -> tuple[float, int] | None:
        """Return a cosine reached by at most this share, and by how many; None where by none."""
        reached = np.cumsum(self._counts[::-1])
        allowed = allowance(rate, int(reached[-1]))
        bins = int(np.searchsorted(reached, allowed, side="right"))
        if not allowed or not bins or not reached[bins - 1]:
            return None
        return 1 - bins * (2 / BINS), int(reached[bins - 1])

    def histogram(self, bins: int) -> tuple[F64, F64]:
        """Return the middles of so many bins and the share of all that falls into each."""
        counts = self._counts.reshape(bins, -1).sum(axis=1)
        middles = np.asarray(-1 + (np.arange(bins) + 0.5) * (2 / bins), np.float64)
        return middles, np.asarray(counts / max(1, int(counts.sum())), np.float64)


def _above(ascending: F64, thresholds: F64) -> F64:
    """Return the share of sorted scores that lie above each threshold."""
    refused = np.searchsorted(ascending, thresholds, side="right")
    return np.asarray((len(ascending) - refused) / max(1, len(ascending)), np.float64)
