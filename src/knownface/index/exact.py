"""Exact search: a scan of all rows as codes of eight bits, then a look at the few that matter.

A scan keeps the best score of each block of 64 rows. The blocks are then visited from the best
down, until no block's upper bound reaches the last place; in those visited, only rows whose own
bound does are compared by their float32 vectors. The bounds are proven (`knownface.index.codes`),
so the answer is the one that a comparison of all vectors would give.

Chunks never move. Rows are appended behind the count that readers know of; a removed row is gone
from the views that are made afterwards; a chunk that is mostly gone is dropped and the rows that
are left are appended anew. So memory stays under twice what the living rows need (plus the last
chunk of each level), and a change costs O(1) on average, O(chunk) at most.

Erasure: a removed vector is overwritten as soon as no search that began before its removal is
running. Every snapshot keeps its successor alive, so when the last snapshot that shows a row dies,
no older one is in use; in CPython that is the moment its last reader returns.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from knownface.index.chunks import BLOCK_ROWS, Chunk, Rooms, View, in_file, in_memory
from knownface.index.codes import Probe, levels
from knownface.index.crew import Crew, cores
from knownface.index.ranking import Hit, Ranking
from knownface.index.segments import Rows
from knownface.index.slots import Slots
from knownface.types import F32, F64, I8, I32, I64

_CHUNK_ROWS: Final = 32_768  # hides the cost of a call, and is small enough to rewrite
_FIRST_ROWS: Final = 4096  # a level's first chunk, which is all that a small collection needs
_QUERY_BLOCK: Final = 16  # queries compared in one pass
_PRODUCTS: Final = 2**17  # held at a time: half a megabyte, within the cache of a core
_ALONE: Final = 2**23  # bytes of codes that one thread has compared before a second has woken up
_VISITED: Final = 256  # blocks looked into at a time


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of a chunk that are scanned at a time; a block is every `blocks`-th of them.

    `first` is the number of its first block in the whole scan.
    """

    view: View
    start: int
    blocks: int
    first: int

    @property
    def stop(self) -> int:
        return self.start + self.blocks * BLOCK_ROWS

    def rows_of(self, blocks: I64) -> I64:
        """Return the living rows of these blocks, by their numbers in the whole scan."""
        offsets = np.arange(self.start, self.stop, self.blocks)
        rows: I64 = ((blocks - self.first)[:, None] + offsets).ravel()
        return rows[self.view.alive[rows]]


class Plan:
    """All filled rows in pieces of at most so many, and what each piece's codes are like."""

    __slots__ = ("_errors", "_lengths", "_steps", "owners", "pieces")

    def __init__(self, views: tuple[View, ...], rows: int) -> None:
        self.pieces: list[_Piece] = []
        first = 0
        for view in views:
            blocks = -(-view.used // BLOCK_ROWS)
            for start in range(0, blocks, rows // BLOCK_ROWS):
                count = min(rows // BLOCK_ROWS, blocks - start)
                self.pieces.append(_Piece(view, start * BLOCK_ROWS, count, first))
                first += count
        self.owners = np.repeat(range(len(self.pieces)), [piece.blocks for piece in self.pieces])
        self._steps = np.array([piece.view.step for piece in self.pieces])
        self._errors = np.array([piece.view.error for piece in self.pieces])
        self._lengths = np.array([piece.view.length for piece in self.pieces])

    def bounds(self, probe: Probe, number: int) -> tuple[F64, F64]:
        """Return scale and error, see Probe, of a query's products with each piece's rows."""
        return probe.bounds(number, self._steps, self._errors, self._lengths)


class Snapshot:
    """One state of the index; `successor` is the next one, set once it is published."""

    __slots__ = ("__weakref__", "_plans", "successor", "views")

    def __init__(self, views: tuple[View, ...]) -> None:
        self.views = views
        self.successor: Snapshot | None = None
        self._plans: dict[int, Plan] = {}

    def plan(self, rows: int) -> Plan:
        """Return the plan of a scan by pieces of at most so many rows."""
        plan = self._plans.get(rows)
        if plan is None:  # two searches may make it at a time: both are right
            plan = self._plans[rows] = Plan(self.views, rows)
        return plan


class ExactIndex:
    """Every search looks at every row: see `knownface.index.Index` for the promises."""

    def __init__(
        self,
        dimension: int,
        *,
        folder: Path | None = None,
        chunk_rows: int = _CHUNK_ROWS,
        threads: int | None = None,
    ) -> None:
        """Keep most of the float32 vectors in files in `folder`, or all of them in memory."""
        self._dimension = dimension
        self._chunk_rows = chunk_rows
        self._room = in_memory if folder is None else in_file(folder)
        self._crew = Crew(cores() if threads is None else threads)
        self._serial = 0
        self._forget()
        self._snapshot = Snapshot(())

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def dimension(self) -> int:
        return self._dimension

    def codes(self) -> list[I8]:
        """Return what a scan reads: the codes of all rows, chunk by chunk."""
        return [view.codes[: view.used] for view in self._snapshot.views]

    def add(self, keys: I64, subjects: I64, vectors: F32) -> None:
        count = len(keys)
        if subjects.shape != (count,) or vectors.shape != (count, self._dimension):
            shapes = f"{keys.shape}, {subjects.shape}, {vectors.shape}"
            raise ValueError(f"expected [N], [N] and [N, {self._dimension}], got {shapes}")
        chosen = _last_of_each(keys)
        if len(chosen) < count:
            keys, subjects, vectors = keys[chosen], subjects[chosen], vectors[chosen]
        erased = self._bury(keys)
        self._append(keys, subjects, vectors)
        self._publish(erased)

    def remove(self, keys: I64) -> None:
        erased = self._bury(np.unique(keys))
        if erased:
            self._publish(erased)

    def clear(self) -> None:
        self._forget()
        self._publish([])

    def views(self) -> tuple[View, ...]:
        """Return all chunks as one search would see them; as long as they are held, they stay."""
        return self._snapshot.views

    def restore(self, parts: Sequence[Rows]) -> None:
        """Fill an empty index with chunks that an index like it had, whose keys differ.

        ValueError when they are not such chunks.
        """
        for part in parts:
            fits = 0 < part.used <= part.rows <= self._chunk_rows
            if not fits or part.vectors.shape[1] != self._dimension:
                raise ValueError("these rows are those of another kind of index")
            number = len(self._chunks)
            chunk = self._new_chunk(number, part.level, part.rows, self._room_for(part))
            chunk.restore(part)
            rows = chunk.held()
            self._slots.put(part.keys[rows], number * self._chunk_rows + rows)
            if chunk.free or part.level not in self._tails:
                self._tails[part.level] = number
            self._views[number] = chunk.view()
            self._appended(chunk, 0, chunk.used)
        self._publish([])

    @property
    def nbytes(self) -> int:
        """How much memory the rows take; vectors that lie in files are not counted."""
        return self._slots.nbytes + sum(chunk.nbytes for chunk in list(self._chunks.values()))

    def search(self, queries: F32, k: int) -> list[list[Hit]]:
        if queries.ndim != 2 or queries.shape[1] != self._dimension:
            raise ValueError(f"expected [Q, {self._dimension}], got {queries.shape}")
        snapshot = self._snapshot  # held to the end: rows that it shows are not overwritten
        found: list[list[Hit]] = [[] for _ in queries]
        if k < 1 or not snapshot.views:
            return found
        asked = np.flatnonzero(np.isfinite(queries).all(axis=1))
        for start in range(0, len(asked), _QUERY_BLOCK):
            some = asked[start : start + _QUERY_BLOCK]
            block = np.ascontiguousarray(queries[some], np.float32)
            for place, hits in zip(some, self._search_block(snapshot, block, k), strict=True):
                found[place] = hits
        return found

    def _search_block(self, snapshot: Snapshot, queries: F32, k: int) -> list[list[Hit]]:
        probe = Probe(queries)
        plan = snapshot.plan(_PRODUCTS // probe.width)
        best = self._scan(plan, probe)
        rankings = [Ranking(query, k) for query in queries]
        for number, ranking in enumerate(rankings):
            _visit_best(plan, best[:, number], probe, number, ranking, min(k, _VISITED))
        return [ranking.hits() for ranking in rankings]

    def _scan(self, plan: Plan, probe: Probe) -> I32:
        """Return the best product of each block with each query, [blocks, width]."""
        best = np.empty((len(plan.owners), probe.width), np.int32)
        waiting = deque(plan.pieces)

        def work() -> None:
            room = probe.room(_PRODUCTS // probe.width)
            while True:
                try:
                    piece = waiting.popleft()
                except IndexError:
                    return
                products = probe.products(piece.view.codes[piece.start : piece.stop], room)
                into = best[piece.first : piece.first + piece.blocks].reshape(-1)
                np.maximum.reduce(products.reshape(BLOCK_ROWS, -1), axis=0, out=into)

        if len(best) * BLOCK_ROWS * self._dimension > _ALONE:
            self._crew.share(work)
        else:
            work()
        return best

    def _forget(self) -> None:
        self._chunks: dict[int, Chunk] = {}
        self._views: dict[int, View] = {}
        self._slots = Slots()  # key -> chunk number * rows of a chunk + row
        self._tails: dict[int, int] = {}  # level -> the number of the chunk that takes its rows
        self._unused: list[int] = []  # numbers that chunks had which are gone

    def _bury(self, keys: I64) -> list[tuple[Chunk, I64]]:
        """Mark the rows of these keys, each given once, gone; return them, to be overwritten."""
        slots = self._slots.pop(keys)
        slots = slots[slots >= 0]
        numbers = slots // self._chunk_rows
        erased = []
        for number in np.unique(numbers).tolist():
            chunk = self._chunks[number]
            rows = slots[numbers == number] % self._chunk_rows
            chunk.bury(rows)
            erased.append((chunk, rows))
            if chunk.mostly_gone:
                erased.append((chunk, self._evacuate(number)))
            else:
                self._views[number] = chunk.view()
        return erased

    def _evacuate(self, number: int) -> I64:
        """Drop a chunk and append the rows that are left of it anew; return which these are."""
        chunk = self._chunks.pop(number)
        del self._views[number]
        if self._tails.get(chunk.level) == number:
            del self._tails[chunk.level]
        self._unused.append(number)
        rows = chunk.held()
        self._append(*chunk.take(rows))
        return rows

    def _append(self, keys: I64, subjects: I64, vectors: F32) -> None:
        found = levels(vectors)
        for level in np.unique(found).tolist():
            rows = np.flatnonzero(found == level)
            while len(rows):
                number = self._roomy(level)
                chunk = self._chunks[number]
                here, rows = rows[: chunk.free], rows[chunk.free :]
                slot = number * self._chunk_rows + chunk.used
                self._slots.put(keys[here], np.arange(slot, slot + len(here)))
                chunk.append(keys[here], subjects[here], vectors[here])
                self._appended(chunk, chunk.used - len(here), chunk.used)
                self._views[number] = chunk.view()

    def _roomy(self, level: int) -> int:
        """Return the number of a chunk that has room for rows of this level."""
        number = self._tails.get(level)
        if number is not None and self._chunks[number].free:
            return number
        first = number is None
        rows = min(_FIRST_ROWS, self._chunk_rows) if first else self._chunk_rows
        room = in_memory if first else self._room
        number = self._tails[level] = self._unused.pop() if self._unused else len(self._chunks)
        self._new_chunk(number, level, rows, room)
        return number

    def _new_chunk(self, number: int, level: int, rows: int, room: Rooms) -> Chunk:
        self._serial += 1
        chunk = self._chunks[number] = Chunk(self._serial, level, rows, self._dimension, room)
        return chunk

    def _room_for(self, part: Rows) -> Rooms:
        """Return where the vectors of a restored chunk are to lie."""
        if part.mapped:
            return lambda _rows, _dimension: part.vectors
        return in_memory if part.rows < self._chunk_rows else self._room

    def _appended(self, chunk: Chunk, start: int, stop: int) -> None:
        """Take note of rows that the next snapshot shows; for indexes that do more than scan."""

    def _publish(self, erased: list[tuple[Chunk, I64]]) -> None:
        """Show the new state to searches from now on; erase when the last older one has ended."""
        old = self._snapshot
        self._snapshot = old.successor = Snapshot(tuple(self._views.values()))
        if erased:
            weakref.finalize(old, self._erase, erased).atexit = False

    def _erase(self, erased: list[tuple[Chunk, I64]]) -> None:
        """Overwrite rows that no search sees any more; any thread may come here."""
        for chunk, rows in erased:
            chunk.overwrite(rows)


def _last_of_each(keys: I64) -> I64:
    """Return where each key is given last, in the order of the rows."""
    _, places = np.unique(keys[::-1], return_index=True)
    return np.sort(len(keys) - 1 - places)


def _visit_best(
    plan: Plan, best: I32, probe: Probe, number: int, ranking: Ranking, some: int
) -> None:
    """Offer the rows of all blocks that may matter to a query, the best `some` blocks first."""
    scales, errors = plan.bounds(probe, number)
    upper = best * scales[plan.owners] + errors[plan.owners]
    while len(blocks := np.flatnonzero(upper > ranking.floor)):
        blocks = blocks[_largest(upper[blocks], some)]
        owners = plan.owners[blocks]
        for owner in set(owners.tolist()):
            piece = plan.pieces[owner]
            rows = piece.rows_of(blocks[owners == owner])
            if len(rows):
                products = probe.products_with(number, piece.view.codes[rows])
                _offer(ranking, piece.view, rows, products * scales[owner], errors[owner])
        upper[blocks] = -np.inf
        some = _VISITED


def _offer(ranking: Ranking, view: View, rows: I64, cosines: F64, error: float) -> None:
    ranking.offer(
        (cosines - error).astype(np.float32),
        (cosines + error).astype(np.float32),
        view.keys[rows],
        view.subjects[rows],
        lambda chosen: view.vectors[rows[chosen]],
    )


def _largest(values: F64, count: int) -> I64:
    """Return where the largest of these values are, in no order."""
    if count == 1:
        return np.array([values.argmax()])
    if count >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, -count)[-count:]
