"""What a cosine is and who gets a place: the rules that every index backend shares.

A backend scores with whatever is fast and knows how far that may be off: for each row it offers a
lower and an upper bound of the cosine. Only rows that could still matter within their bounds are
scored again by `cosines`, which is reproducible. So two copies of one photograph tie exactly,
wherever they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from knownface.types import F32, I64

_BLOCK_ROWS = 1024  # how many rows are widened to float64 at a time
_FEW_ROWS = 64  # scoring so few again is cheaper than finding those that need not be


@dataclass(frozen=True, slots=True)
class Hit:
    """A place in an answer: a subject, the key of its best example and that example's cosine."""

    key: int
    subject: int
    cosine: float


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


class Ranking:
    """The k nearest subjects of one query among the rows offered, each by its best example.

    `floor` is the cosine of the last place, minus infinity while places are left. It rises as
    better subjects come in: rows whose upper bound is at or under it need not be offered.
    """

    __slots__ = ("_cosines", "_k", "_keys", "_pending", "_query", "_subjects", "floor")

    def __init__(self, query: F32, k: int) -> None:
        self._query = query
        self._k = k
        self._cosines = np.empty(0, np.float32)
        self._keys = np.empty(0, np.int64)
        self._subjects = np.empty(0, np.int64)
        self._pending: list[tuple[F32, I64, I64]] = []
        self.floor = -np.inf

    def offer(
        self, lower: F32, upper: F32, keys: I64, subjects: I64, vectors: Callable[[I64], F32]
    ) -> None:
        """Consider rows, [N], whose cosines lie between their bounds, the upper one exclusive.

        `vectors` hands out some of them, [M, D], by their places among the N.
        """
        rows = np.flatnonzero(upper > self.floor)
        if len(rows) > _FEW_ROWS:
            rows = rows[self._promising(lower[rows], upper[rows], subjects[rows])]
        if len(rows):
            self.place(vectors(rows), keys[rows], subjects[rows])

    def place(self, vectors: F32, keys: I64, subjects: I64) -> None:
        """Give rows, [N, D] and [N], the places that are theirs by their cosines."""
        self._pending.append((cosines(self._query, vectors), keys, subjects))
        if sum(len(waiting) for waiting, _, _ in self._pending) >= self._k:
            self._merge()

    def hits(self) -> list[Hit]:
        """Return the places: cosine descending, ties by key ascending."""
        self._merge()
        columns = self._keys.tolist(), self._subjects.tolist(), self._cosines.tolist()
        return [Hit(*place) for place in zip(*columns, strict=True)]

    def _promising(self, lower: F32, upper: F32, subjects: I64) -> I64:
        """Pick what may be the best of its subject, of subjects that may be among the k nearest."""
        if self._k == 1:
            return np.flatnonzero(upper >= lower.max())
        rows = self._leading(lower, upper, subjects)
        if len(rows) <= _FEW_ROWS:
            return rows
        order, best, sizes = _by_subject(lower[rows], subjects[rows])
        needed = np.repeat(best, sizes)
        if len(best) > self._k:
            np.maximum(needed, np.partition(best, -self._k)[-self._k], out=needed)
        return np.compress(upper[rows[order]] >= needed, rows[order])

    def _leading(self, lower: F32, upper: F32, subjects: I64) -> I64:
        """Cut a long list down by a look at its top, unless too few subjects share that."""
        some = 4 * self._k + _FEW_ROWS
        if len(lower) > 4 * some:
            top = np.argpartition(lower, -some)[-some:]
            _, best, _ = _by_subject(lower[top], subjects[top])
            if len(best) >= self._k:
                return np.flatnonzero(upper >= np.partition(best, -self._k)[-self._k])
        return np.arange(len(lower))

    def _merge(self) -> None:
        """Give the places anew among their holders and the rows that came in since."""
        if not self._pending:
            return
        holders = (self._cosines, self._keys, self._subjects)
        cosines, keys, subjects = map(np.concatenate, zip(holders, *self._pending, strict=True))
        self._pending.clear()
        order = np.lexsort((keys, -cosines))
        _, first = np.unique(subjects[order], return_index=True)
        order = order[np.sort(first)[: self._k]]
        self._cosines, self._keys, self._subjects = cosines[order], keys[order], subjects[order]
        if len(order) == self._k:
            self.floor = float(cosines[order[-1]])


def _by_subject(scores: F32, subjects: I64) -> tuple[I64, F32, I64]:
    """Return the order that groups rows by subject, and each group's best score and size."""
    order = np.argsort(subjects, kind="stable")
    grouped = subjects[order]
    first = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
    sizes = np.diff(first, append=len(order))
    return order, np.maximum.reduceat(scores[order], first), sizes
