"""Exact search: a scan of all rows as codes of eight bits, then a look at the few that matter.

A scan keeps the best score of each block of 64 rows. The blocks are then visited from the best
down, until no block's upper bound reaches what k subjects have by their lower bounds. Of the rows
seen, those whose own upper bound does are compared by their float32 vectors, which are asked for
once, of whoever has them: an index holds none, unless it is small. The bounds are proven
(`knownface.index.codes`), so the answer is the one that a comparison of all vectors would give.

Chunks never move. Rows are appended behind the count that readers know of; a removed row is gone
from the views that are made afterwards; a chunk that is mostly gone is dropped and the rows that
are left are appended anew. So memory stays under twice what the living rows need (plus the last
chunk of each level), and a change costs O(1) on average, O(chunk) at most.

Erasure: a removed code is overwritten as soon as no search that began before its removal is
running. Every snapshot keeps its successor alive, so when the last snapshot that shows a row dies,
no older one is in use; in CPython that is the moment its last reader returns. In a chunk that other
processes have mapped too, the row of a key that has moved to another one stays as it is until that
key is removed: they may still find it there.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from knownface.index.chunks import BLOCK_ROWS, Chunk, View
from knownface.index.codes import Coded, Probe, encode, levels, step_of
from knownface.index.crew import Crew, cores
from knownface.index.originals import Originals
from knownface.index.plan import Plan, Snapshot
from knownface.index.ranking import NOBODY, Candidates, Chosen, Hit, Source, ranked
from knownface.index.segments import Rows
from knownface.index.slots import Slots
from knownface.types import F32, F64, I8, I32, I64

_CHUNK_ROWS: Final = 32_768  # hides the cost of a call, and is small enough to rewrite
_FIRST_ROWS: Final = 4096  # a level's first chunk, which is all that a small collection needs
_QUERY_BLOCK: Final = 16  # queries compared in one pass
_PRODUCTS: Final = 2**17  # held at a time: half a megabyte, within the cache of a core
_ALONE: Final = 2**23  # bytes of codes that one thread has compared before a second has woken up
_VISITED: Final = 256  # blocks looked into at a time
_ENCODED_ROWS: Final = 2048  # encoded at a time, so that all steps of it stay within the cache
# As long as an index holds no more rows, it holds their vectors too.
SMALL: Final = 20_000


class Gone(NamedTuple):
    """Rows of a chunk that the next snapshot does not show; some are not to be overwritten."""

    chunk: Chunk
    rows: I64
    overwrite: bool


class ExactIndex:
    """Every search looks at every row: see `knownface.index.Index` for the promises."""

    _originals: Originals | None

    def __init__(
        self,
        dimension: int,
        *,
        chunk_rows: int = _CHUNK_ROWS,
        threads: int | None = None,
        small: int = SMALL,
    ) -> None:
        """Hold the vectors too as long as there are at most `small` rows."""
        self._dimension = dimension
        self._chunk_rows = chunk_rows
        self._small = small
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
        gone = self._bury(keys, replaced=True)
        self._append(keys, subjects, vectors)
        if self._originals is not None:
            if len(self) <= self._small:
                self._originals.put(keys, vectors)
            else:
                self._originals = None
        self._publish(gone)

    def remove(self, keys: I64) -> None:
        keys = np.unique(keys)
        gone = self._bury(keys, replaced=False)
        vectors = [] if self._originals is None else self._originals.pop(keys)
        if gone:
            self._publish(gone, vectors)

    def clear(self) -> None:
        self._forget()
        self._publish([])

    def views(self) -> tuple[View, ...]:
        """Return all chunks as one search would see them; as long as they are held, they stay."""
        return self._snapshot.held()

    def restore(self, parts: Sequence[Rows]) -> None:
        """Fill an empty index with chunks that an index like it had, whose keys differ.

        ValueError when they are not such chunks.
        """
        self._originals = None
        for part in parts:
            fits = 0 < part.used <= part.rows <= self._chunk_rows
            if not fits or part.codes.shape[1] != self._dimension:
                raise ValueError("these rows are those of another kind of index")
            number = len(self._chunks)
            chunk = self._new_chunk(number, part.level, part.rows)
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
        """How much memory the rows take; what lies in files is not counted."""
        originals = self._originals
        held = 0 if originals is None else originals.nbytes
        return self._slots.nbytes + held + sum(one.nbytes for one in list(self._chunks.values()))

    @property
    def unshared(self) -> int:
        """How many rows lie in memory that would be mapped if a file had them."""
        chunks = list(self._chunks.values())
        return sum(one.used for one in chunks if not one.free and not one.mapped)

    def search(self, queries: F32, k: int, vectors: Source) -> list[list[Hit]]:
        if queries.ndim != 2 or queries.shape[1] != self._dimension:
            raise ValueError(f"expected [Q, {self._dimension}], got {queries.shape}")
        snapshot = self._snapshot  # held to the end: rows that it shows are not overwritten
        originals = self._originals  # after the snapshot: it has what that shows
        chosen = [NOBODY] * len(queries)
        if k < 1 or not snapshot.views or not len(queries):
            return [[] for _ in queries]
        asked = np.flatnonzero(np.isfinite(queries).all(axis=1))
        for start in range(0, len(asked), _QUERY_BLOCK):
            some = asked[start : start + _QUERY_BLOCK]
            block = np.ascontiguousarray(queries[some], np.float32)
            for place, rows in zip(some, self._choose(snapshot, block, k), strict=True):
                chosen[place] = rows
        source = vectors if originals is None else partial(originals.of, otherwise=vectors)
        return ranked(queries, chosen, k, source)

    def _choose(self, snapshot: Snapshot, queries: F32, k: int) -> list[Chosen]:
        """Return for each query the rows that may have one of k places."""
        probe = Probe(queries)
        plan = snapshot.plan(_PRODUCTS // probe.width)
        if self._originals is not None:
            products = plan.products(probe)
            return [_weigh_all(plan, products, probe, one, k) for one in range(len(queries))]
        best = self._scan(plan, probe)
        return [_visit_best(plan, best[:, one], probe, one, k) for one in range(len(queries))]

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
        self._moved: dict[int, list[Gone]] = {}  # key -> mapped rows that it had before
        self._originals = Originals(self._dimension)

    def _bury(self, keys: I64, *, replaced: bool) -> list[Gone]:
        """Mark the rows of these keys, each given once, gone; return what is gone.

        The keys go for good, or they are about to come again, `replaced`.
        """
        slots = self._slots.pop(keys)
        slots = slots[slots >= 0]
        numbers = slots // self._chunk_rows
        gone = []
        for number in np.unique(numbers).tolist():
            chunk = self._chunks[number]
            rows = slots[numbers == number] % self._chunk_rows
            chunk.bury(rows)
            gone.append(Gone(chunk, rows, overwrite=not (replaced and chunk.mapped)))
            if chunk.mostly_gone:
                gone.append(Gone(chunk, self._evacuate(number), overwrite=not chunk.mapped))
            else:
                self._views[number] = chunk.view()
        for one in [one for one in gone if not one.overwrite]:
            for key, row in zip(one.chunk.keys(one.rows).tolist(), one.rows, strict=True):
                self._moved.setdefault(key, []).append(Gone(one.chunk, row[None], overwrite=True))
        if self._moved and not replaced:
            gone += [one for key in keys.tolist() for one in self._moved.pop(key, ())]
        return gone

    def _evacuate(self, number: int) -> I64:
        """Drop a chunk and append the rows that are left of it anew; return which these are."""
        chunk = self._chunks.pop(number)
        del self._views[number]
        if self._tails.get(chunk.level) == number:
            del self._tails[chunk.level]
        self._unused.append(number)
        rows = chunk.held()
        self._fill(chunk.level, *chunk.take(rows))
        return rows

    def _append(self, keys: I64, subjects: I64, vectors: F32) -> None:
        found = levels(vectors)
        for level in np.unique(found).tolist():
            members = np.flatnonzero(found == level)
            for start in range(0, len(members), _ENCODED_ROWS):
                rows = members[start : start + _ENCODED_ROWS]
                coded = encode(vectors[rows], step_of(level))
                self._fill(level, keys[rows], subjects[rows], coded)

    def _fill(self, level: int, keys: I64, subjects: I64, coded: Coded) -> None:
        """Append rows of one level, where there is room."""
        start = 0
        while start < len(keys):
            number = self._roomy(level)
            chunk = self._chunks[number]
            here = slice(start, start + chunk.free)
            slot = number * self._chunk_rows + chunk.used
            self._slots.put(keys[here], np.arange(slot, slot + len(keys[here])))
            chunk.append(keys[here], subjects[here], coded.part(here))
            self._appended(chunk, chunk.used - len(keys[here]), chunk.used)
            self._views[number] = chunk.view()
            start = here.stop

    def _roomy(self, level: int) -> int:
        """Return the number of a chunk that has room for rows of this level."""
        number = self._tails.get(level)
        if number is not None and self._chunks[number].free:
            return number
        rows = min(_FIRST_ROWS, self._chunk_rows) if number is None else self._chunk_rows
        number = self._tails[level] = self._unused.pop() if self._unused else len(self._chunks)
        self._new_chunk(number, level, rows)
        return number

    def _new_chunk(self, number: int, level: int, rows: int) -> Chunk:
        self._serial += 1
        chunk = self._chunks[number] = Chunk(self._serial, level, rows, self._dimension)
        return chunk

    def _appended(self, chunk: Chunk, start: int, stop: int) -> None:
        """Take note of rows that the next snapshot shows; for indexes that do more than scan."""

    def _publish(self, gone: list[Gone], vectors: Sequence[F32] = ()) -> None:
        """Show the new state to searches from now on; erase when the last older one has ended."""
        old = self._snapshot
        self._snapshot = old.successor = Snapshot(tuple(self._views.values()))
        if gone:
            weakref.finalize(old, self._erase, gone, vectors).atexit = False

    def _erase(self, gone: list[Gone], vectors: Sequence[F32]) -> None:
        """Overwrite rows that no search sees any more; any thread may come here."""
        for chunk, rows, overwrite in gone:
            if overwrite:
                chunk.overwrite(rows)
        for vector in vectors:
            vector.fill(0.0)


def _last_of_each(keys: I64) -> I64:
    """Return where each key is given last, in the order of the rows."""
    _, places = np.unique(keys[::-1], return_index=True)
    return np.sort(len(keys) - 1 - places)


def _weigh_all(plan: Plan, products: I32, probe: Probe, number: int, k: int) -> Chosen:
    """Choose among all rows of few at once, which takes fewer steps than going by blocks."""
    keys, subjects, dead = plan.everybody
    lower, upper = plan.cosines(products, probe, number)
    lower[dead] = upper[dead] = -np.inf
    candidates = Candidates(k)
    candidates.offer(lower, upper, keys, subjects)
    return candidates.chosen()


def _visit_best(plan: Plan, best: I32, probe: Probe, number: int, k: int) -> Chosen:
    """Choose among the rows of all blocks that may matter to a query, the best blocks first."""
    scales, errors = plan.bounds(probe, number)
    upper = best * scales[plan.owners] + errors[plan.owners]
    candidates, some = Candidates(k), min(k, _VISITED)
    while len(blocks := np.flatnonzero(upper > candidates.floor)):
        blocks = blocks[_largest(upper[blocks], some)]
        seen = plan.rows_of(blocks)
        most = probe.products_with(number, seen.codes) * scales[seen.owners] + errors[seen.owners]
        seen = seen.part(np.flatnonzero(most > candidates.floor))
        middle, error = probe.close(number, seen.codes, *plan.like(seen.owners))
        candidates.offer(middle - error, middle + error, seen.keys, seen.subjects)
        upper[blocks] = -np.inf
        some = min(4 * some, _VISITED)
    return candidates.chosen()


def _largest(values: F64, count: int) -> I64:
    """Return where the largest of these values are, in no order."""
    if count == 1:
        return np.array([values.argmax()])
    if count >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, -count)[-count:]
