"""Exact search by brute force over float32 rows in chunks.

Chunks never move. Rows are appended behind the count that readers know of; a removed row is marked
dead in a fresh copy of its chunk's short list of dead rows; a chunk that is mostly dead is dropped
and its living rows are appended anew. So memory stays under twice what the living rows need (plus
the last chunk), and a change costs O(1) on average, O(chunk) at most.

Erasure: a removed vector is overwritten as soon as no search that began before its removal is
running. Every snapshot keeps its successor alive, so when the last snapshot that shows a row dies,
no older one is in use; in CPython that is the moment its last reader returns.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from knownface.index.ranking import Hit, Ranking
from knownface.types import F32, I64

_CHUNK_ROWS = 8192  # 4 MiB of 128 numbers: hides the cost of a call, is small enough to rewrite
_QUERY_BLOCK = 16  # bounds the scores held at a time to 1 MiB
_FEW_QUERIES = 4  # up to here, dot products row by row are as fast as a matrix product
# OpenBLAS spreads larger products over threads, and these wait for each other: beside busy request
# threads that costs up to fifty times what it gains. A search stays in its own thread.
_PRODUCT_SIZE = 2**17


@dataclass(frozen=True, slots=True)
class _View:
    """What readers see of a chunk: `vectors` [N, D], `keys`, `subjects` [N], and the dead rows."""

    vectors: F32
    keys: I64
    subjects: I64
    dead: I64


class _Snapshot:
    """One state of the index; `successor` is the next one, set once it is published."""

    __slots__ = ("__weakref__", "successor", "views")

    def __init__(self, views: tuple[_View, ...]) -> None:
        self.views = views
        self.successor: _Snapshot | None = None


@dataclass(slots=True)
class _Chunk:
    """The writer's side of a chunk: room for a fixed number of rows, of which `used` are filled."""

    vectors: F32
    keys: I64
    subjects: I64
    used: int = 0
    dead: I64 = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def free(self) -> int:
        return len(self.keys) - self.used

    @property
    def mostly_dead(self) -> bool:
        return len(self.dead) == self.used or 2 * len(self.dead) > len(self.keys)

    def view(self) -> _View:
        return _View(
            self.vectors[: self.used], self.keys[: self.used], self.subjects[: self.used], self.dead
        )

    def living(self) -> I64:
        """Return the numbers of the rows that are filled and not dead."""
        return np.delete(np.arange(self.used), self.dead)


class ExactIndex:
    """Every search looks at every row: see `knownface.index.Index` for the promises."""

    def __init__(self, dimension: int, chunk_rows: int = _CHUNK_ROWS) -> None:
        self._dimension = dimension
        self._chunk_rows = chunk_rows
        # A sum of D float32 products of unit vectors is off by D * eps / 2 at the worst, whatever
        # its order; twice that, because the vectors are units only within rounding.
        self._tolerance = (dimension + 8) * float(np.finfo(np.float32).eps)
        self._forget()
        self._snapshot = _Snapshot(())

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, keys: I64, subjects: I64, vectors: F32) -> None:
        count = len(keys)
        if subjects.shape != (count,) or vectors.shape != (count, self._dimension):
            shapes = f"{keys.shape}, {subjects.shape}, {vectors.shape}"
            raise ValueError(f"expected [N], [N] and [N, {self._dimension}], got {shapes}")
        last = dict(zip(keys.tolist(), range(count), strict=True))
        if len(last) < count:
            chosen = np.fromiter(last.values(), np.int64, len(last))
            keys, subjects, vectors = keys[chosen], subjects[chosen], vectors[chosen]
        erased = self._bury(last)
        self._append(keys, subjects, vectors)
        self._publish(erased)

    def remove(self, keys: I64) -> None:
        erased = self._bury(keys.tolist())
        if erased:
            self._publish(erased)

    def clear(self) -> None:
        self._forget()
        self._publish([])

    def search(self, queries: F32, k: int) -> list[list[Hit]]:
        if queries.ndim != 2 or queries.shape[1] != self._dimension:
            raise ValueError(f"expected [Q, {self._dimension}], got {queries.shape}")
        snapshot = self._snapshot
        if k < 1 or not snapshot.views:
            return [[] for _ in queries]
        queries = np.ascontiguousarray(queries, np.float32)
        found: list[list[Hit]] = []
        for start in range(0, len(queries), _QUERY_BLOCK):
            found += self._search_block(snapshot, queries[start : start + _QUERY_BLOCK], k)
        return found

    def _search_block(self, snapshot: _Snapshot, queries: F32, k: int) -> list[list[Hit]]:
        rankings = [Ranking(query, k, self._tolerance) for query in queries]
        buffers = np.empty((2, len(queries) * self._chunk_rows), np.float32)
        for view in snapshot.views:
            scores = _scores(view.vectors, queries, buffers)
            if len(view.dead):
                scores[:, view.dead] = -np.inf
            tops = np.fmax.reduce(scores, axis=1).tolist()  # a row of NaN must not hide the others
            for ranking, row, top in zip(rankings, scores, tops, strict=True):
                if top > ranking.floor:
                    ranking.offer(row, view.keys, view.subjects, view.vectors)
        return [ranking.hits() for ranking in rankings]

    def _forget(self) -> None:
        self._chunks: dict[int, _Chunk] = {}
        self._views: dict[int, _View] = {}
        self._slots: dict[int, int] = {}  # key -> chunk number * rows of a chunk + row
        self._tail = -1  # the number of the chunk that takes new rows; numbers are never used again

    def _bury(self, keys: Iterable[int]) -> list[tuple[F32, I64]]:
        """Mark the rows of these keys dead and return them, to be overwritten later."""
        graves: dict[int, list[int]] = {}
        for key in keys:
            slot = self._slots.pop(key, None)
            if slot is not None:
                number, row = divmod(slot, self._chunk_rows)
                graves.setdefault(number, []).append(row)
        erased = []
        for number, dead in graves.items():
            chunk = self._chunks[number]
            rows = np.array(dead, np.int64)
            chunk.dead = np.concatenate([chunk.dead, rows])
            erased.append((chunk.vectors, rows))
            if chunk.mostly_dead:
                self._evacuate(number)
            else:
                self._views[number] = chunk.view()
        return erased

    def _evacuate(self, number: int) -> None:
        """Drop a chunk and append its living rows anew."""
        chunk = self._chunks.pop(number)
        del self._views[number]
        rows = chunk.living()
        self._append(chunk.keys[rows], chunk.subjects[rows], chunk.vectors[rows])

    def _append(self, keys: I64, subjects: I64, vectors: F32) -> None:
        start = 0
        while start < len(keys):
            chunk = self._roomy_chunk()
            count = min(chunk.free, len(keys) - start)
            here = slice(chunk.used, chunk.used + count)
            there = slice(start, start + count)
            chunk.vectors[here] = vectors[there]
            chunk.keys[here] = keys[there]
            chunk.subjects[here] = subjects[there]
            slot = self._tail * self._chunk_rows + chunk.used
            self._slots.update(zip(keys[there].tolist(), range(slot, slot + count), strict=True))
            chunk.used += count
            self._views[self._tail] = chunk.view()
            start += count

    def _roomy_chunk(self) -> _Chunk:
        chunk = self._chunks.get(self._tail)
        if chunk is None or not chunk.free:
            rows = self._chunk_rows
            self._tail += 1
            # Untouched zeros cost no memory, so a small collection does not pay for a whole chunk.
            chunk = _Chunk(
                np.zeros((rows, self._dimension), np.float32),
                np.zeros(rows, np.int64),
                np.zeros(rows, np.int64),
            )
            self._chunks[self._tail] = chunk
        return chunk

    def _publish(self, erased: list[tuple[F32, I64]]) -> None:
        """Show the new state to searches from now on; erase when the last older one has ended."""
        old = self._snapshot
        self._snapshot = old.successor = _Snapshot(tuple(self._views.values()))
        if erased:
            weakref.finalize(old, _overwrite, erased).atexit = False


def _scores(vectors: F32, queries: F32, buffers: F32) -> F32:
    """Return the products, [Q, N], of rows [N, D] and queries [Q, D], in one of the buffers."""
    rows, count = len(vectors), len(queries)
    scores = buffers[0, : count * rows].reshape(count, rows)
    if count <= _FEW_QUERIES:
        np.vecdot(vectors[None], queries[:, None], out=scores)
        return scores
    product = buffers[1, : count * rows].reshape(rows, count)
    step = max(16, _PRODUCT_SIZE // queries.size)
    for start in range(0, rows, step):
        stop = start + step
        np.dot(vectors[start:stop], queries.T, out=product[start:stop])
    np.copyto(scores, product.T)
    return scores


def _overwrite(erased: list[tuple[F32, I64]]) -> None:
    for vectors, rows in erased:
        vectors[rows] = 0.0
