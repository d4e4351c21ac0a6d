"""What a cosine is and who gets a place: the rules that every index backend shares.

A backend scores with whatever is fast and knows how far that may be off: for each row it offers a
lower and an upper bound of the cosine. From the bounds alone follows which rows may have a place.
Only the vectors of those are asked for, once for all queries, and scored by `cosines`, which is
reproducible. So two copies of one photograph tie exactly, wherever they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from knownface.types import F32, F64, I64

_BLOCK_ROWS = 1024  # how many rows are widened to float64 at a time
_READ_ROWS = 8192  # how many vectors are asked for at a time, so that no search holds very many

# What is asked for vectors: given keys in ascending order, [M], it returns float32 [M, D], with NaN
# in place of a vector that is not there any more.
Source = Callable[[I64], F32]


@dataclass(frozen=True, slots=True)
class Hit:
    """A place in an answer: a subject, the key of its best example and that example's cosine."""

    key: int
    subject: int
    cosine: float


class Chosen(NamedTuple):
    """Rows that may have a place, by keys and subjects, [N]."""

    keys: I64
    subjects: I64


NOBODY = Chosen(np.empty(0, np.int64), np.empty(0, np.int64))


def cosines(query: F32, vectors: F32) -> F32:
    """Return the cosines, [N], of a unit vector [D] with unit vectors [N, D], within -1..1.

    Products are summed in float64, always in the same order, and rounded to float32: the same two
    vectors have the same cosine, to the last bit, in any batch of any backend.
    """
    sums = np.empty(len(vectors), np.float64)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        np.multiply(vectors[rows], query, dtype=np.float64, order="C").sum(axis=1, out=sums[rows])
    return np.clip(sums.astype(np.float32), np.float32(-1.0), np.float32(1.0))


def ranked(queries: F32, chosen: Sequence[Chosen], k: int, vectors: Source) -> list[list[Hit]]:
    """Return the k nearest subjects of each query, [Q, D], among the rows chosen for it.

    Each comes once, by its best example: cosine descending, ties by key ascending. Rows whose
    vectors are not there any more are left out.
    """
    scores = [np.full(len(one.keys), np.nan, np.float32) for one in chosen]
    keys = chosen[0].keys if len(chosen) == 1 else np.concatenate([one.keys for one in chosen])
    keys = np.unique(keys)
    for start in range(0, len(keys), _READ_ROWS):
        part = keys[start : start + _READ_ROWS]
        rows = vectors(part)
        for query, one, into in zip(queries, chosen, scores, strict=True):
            here = np.flatnonzero((one.keys >= part[0]) & (one.keys <= part[-1]))
            into[here] = cosines(query, rows[np.searchsorted(part, one.keys[here])])
    return [_places(one, into, k) for one, into in zip(chosen, scores, strict=True)]


def _places(chosen: Chosen, cosines: F32, k: int) -> list[Hit]:
    there = np.flatnonzero(~np.isnan(cosines))
    order = there[np.lexsort((chosen.keys[there], -cosines[there]))]
    _, first = np.unique(chosen.subjects[order], return_index=True)
    order = order[np.sort(first)[:k]]
    columns = chosen.keys[order], chosen.subjects[order], cosines[order]
    return [Hit(*place) for place in zip(*(column.tolist() for column in columns), strict=True)]


class Candidates:
    """The rows, of those offered, that may have one of k places by the bounds of their cosines.

    `floor` is what k subjects reach at least, minus infinity while there are fewer. It rises as
    better ones come in: rows whose upper bound is at or under it need not be offered.
    """

    __slots__ = ("_k", "_keys", "_lower", "_subjects", "_upper", "floor")

    def __init__(self, k: int) -> None:
        self._k = k
        self._lower = self._upper = np.empty(0, np.float64)
        self._keys = self._subjects = np.empty(0, np.int64)
        self.floor = -np.inf

    def offer(self, lower: F64, upper: F64, keys: I64, subjects: I64) -> None:
        """Consider rows, [N], whose cosines lie between their bounds, the upper one exclusive."""
        if len(self._lower):
            lower = np.concatenate([self._lower, lower])
            upper = np.concatenate([self._upper, upper])
            keys = np.concatenate([self._keys, keys])
            subjects = np.concatenate([self._subjects, subjects])
        self._lower, self._upper, self._keys, self._subjects = lower, upper, keys, subjects
        self.floor = _reached(self._lower, self._subjects, self._k)
        self._keep(np.flatnonzero(self._upper > self.floor))

    def chosen(self) -> Chosen:
        """Return the rows that may be the best of a subject which may have a place."""
        if self._k > 1 and len(self._lower) > 1:
            order, best, sizes = _by_subject(self._lower, self._subjects)
            self._keep(np.compress(self._upper[order] >= np.repeat(best, sizes), order))
        return Chosen(self._keys, self._subjects)

    def _keep(self, rows: I64) -> None:
        self._lower, self._upper = self._lower[rows], self._upper[rows]
        self._keys, self._subjects = self._keys[rows], self._subjects[rows]


def _reached(lower: F64, subjects: I64, k: int) -> float:
    """Return what k subjects reach by their lower bounds, minus infinity where there are fewer."""
    if k == 1:
        return float(lower.max(initial=-np.inf))
    some = 4 * k + 64
    if len(lower) > 2 * some:  # a look at the top is enough, unless too few subjects share it
        top = np.argpartition(lower, -some)[-some:]
        if (found := _reached(lower[top], subjects[top], k)) > -np.inf:
            return found
    if len(lower) < k:
        return -np.inf
    _, best, _ = _by_subject(lower, subjects)
    return -np.inf if len(best) < k else float(np.partition(best, -k)[-k])


def _by_subject(scores: F64, subjects: I64) -> tuple[I64, F64, I64]:
    """Return the order that groups rows by subject, and each group's best score and size."""
    order = np.argsort(subjects, kind="stable")
    grouped = subjects[order]
    first = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
    sizes = np.diff(first, append=len(order))
    return order, np.maximum.reduceat(scores[order], first), sizes
