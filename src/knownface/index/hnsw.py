"""Search through a graph of neighbours, for collections that are too large to be scanned.

All rows lie in an exact index, which is this index's memory: it answers as long as the graph does
not hold nearly all of them, and whatever the graph has no sure answer to. A thread of its own
places rows in the graph and takes removed ones out of it.

A search takes a snapshot, then the runs of rows that are not placed yet, then asks the graph: a
row leaves the runs when the graph holds it, and leaves the graph when no snapshot shows it. So
every row of the snapshot is either among the runs or in the graph. The graph is made of what the
codes tell, and candidates are chosen among by the bounds of their codes, as in the scan.

A graph that missed the right face has found strangers instead, who are all about as unlike the
query. So its answer is taken only where the first place stands out from the candidates that were
found besides; otherwise the scan answers.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Final

import numpy as np

from knownface.index.chunks import Chunk, View
from knownface.index.codes import Probe
from knownface.index.crew import cores, yielding
from knownface.index.exact import SMALL, ExactIndex, Gone
from knownface.index.graph import Graph
from knownface.index.plan import Snapshot
from knownface.index.ranking import Candidates, Chosen
from knownface.index.segments import Rows
from knownface.types import F32, F64, I64

_CHUNK_ROWS: Final = 32_768
_LEAST: Final = 100_000  # rows from which on a graph is worth its memory
_BEHIND: Final = 128  # rows not placed yet that are compared one by one
_FEW: Final = 8  # rows placed at a time while searches use the graph
_MANY: Final = 2048  # and while they do not
_PLACED: Final = 1024  # bytes that a row takes in the graph, about
_PLACES: Final = 100  # for more the scan is as fast
_CANDIDATES: Final = 1024  # asked of the graph at the most
_FIRST: Final = 8  # asked of it first, where only the first place is wanted
_FURTHER: Final = 512  # and where further ones are, of which most are strangers
# By how much the first place has to stand out, in the spread of the cosines of random directions.
# Chosen among half a million faces: none of the answers that did was wrong. docs/performance.md has
# the figures.
_STANDS_OUT: Final = 1.3


class _Linked:
    """A graph and what is to be done to it: runs of rows to be placed, labels to be removed."""

    def __init__(self, dimension: int, threads: int) -> None:
        self.graph = Graph(dimension)
        self._threads = threads
        self._lock = threading.Lock()
        self._runs: deque[tuple[Chunk, int, int]] = deque()
        self._doomed: list[I64] = []
        self._claimed = False
        self.behind = 0

    def follow(self, chunk: Chunk, start: int, stop: int) -> None:
        with self._lock:
            self._runs.append((chunk, start, stop))
            self.behind += stop - start

    @property
    def busy(self) -> bool:
        """Whether there is anything to be done."""
        return bool(self._runs or self._doomed)

    def claim(self) -> bool:
        """Return whether there is something to do and nobody does it; the caller does, then."""
        with self._lock:
            claimed = self.busy and not self._claimed
            self._claimed = self._claimed or claimed
        return claimed

    def release(self) -> None:
        self._claimed = False

    def doom(self, labels: I64) -> None:
        with self._lock:
            self._doomed.append(labels)

    def runs(self) -> list[tuple[Chunk, int, int]]:
        with self._lock:
            return list(self._runs)

    def work(self, chunk_rows: int) -> None:
        """Do a part of what is to be done; for one thread at a time."""
        with self._lock:
            doomed, self._doomed = self._doomed, []
            run = self._runs[0] if self._runs else None
        if doomed:
            self.graph.remove(np.concatenate(doomed))
        if run is not None:
            chunk, start, stop = run
            many = self.behind > 2 * _BEHIND
            end = min(stop, start + (_MANY if many else _FEW))
            held = chunk.held(start, end)
            rows = held[chunk.finite(held)]
            labels, vectors = chunk.serial * chunk_rows + rows, chunk.decoded(rows)
            if many:
                yielding(partial(self.graph.add, labels, vectors, self._threads))
            else:
                self.graph.add(labels, vectors)
            with self._lock:
                self._runs.popleft()
                if end < stop:
                    self._runs.appendleft((chunk, end, stop))
                self.behind -= end - start


class HnswIndex(ExactIndex):
    """Finds nearly always what the exact search finds: see `knownface.index.Index`."""

    def __init__(
        self,
        dimension: int,
        *,
        chunk_rows: int = _CHUNK_ROWS,
        threads: int | None = None,
        small: int = SMALL,
        least: int = _LEAST,
    ) -> None:
        """Make a graph when there are `least` rows: see ExactIndex for the rest."""
        self._least = least
        self._linked: _Linked | None = None
        self._threads = cores() if threads is None else threads
        self._worker = ThreadPoolExecutor(1, "knownface-graph")
        super().__init__(dimension, chunk_rows=chunk_rows, threads=threads, small=small)

    def add(self, keys: I64, subjects: I64, vectors: F32) -> None:
        super().add(keys, subjects, vectors)
        self._tend()

    def remove(self, keys: I64) -> None:
        super().remove(keys)
        self._tend()

    def restore(self, parts: Sequence[Rows]) -> None:
        super().restore(parts)
        self._tend()

    def clear(self) -> None:
        self._linked = None
        super().clear()

    @property
    def nbytes(self) -> int:
        linked = self._linked
        return super().nbytes + (0 if linked is None else _PLACED * len(linked.graph))

    @property
    def unshared(self) -> int:
        """None once there is a graph: beside that codes are little, and it would be made anew."""
        return super().unshared if self._linked is None else 0

    def wait(self) -> None:
        """Return when all that was added is in the graph and all that was removed is not."""
        while (linked := self._linked) is not None and linked.busy:
            self._worker.submit(linked.work, self._chunk_rows).result()

    def _choose(self, snapshot: Snapshot, queries: F32, k: int) -> list[Chosen]:
        linked = self._linked  # after the snapshot, and before the graph is asked: see above
        if linked is None or linked.behind > _BEHIND or k > _PLACES:
            return super()._choose(snapshot, queries, k)
        views = {view.serial: view for view in snapshot.views}
        fresh = [self._labels(chunk, np.arange(*run)).tolist() for chunk, *run in linked.runs()]
        waiting = list(chain.from_iterable(fresh))
        chosen: list[Chosen] = []
        for query in queries:
            rows = self._followed(linked.graph, views, waiting, query, k)
            chosen.append(rows or super()._choose(snapshot, query[None], k)[0])
        return chosen

    def _followed(
        self, graph: Graph, views: dict[int, View], waiting: list[int], query: F32, k: int
    ) -> Chosen | None:
        """Return who may have the places by what the graph knows, or None when that is not sure."""
        least = _STANDS_OUT * self._dimension**-0.5
        count = _FIRST if k == 1 else max(_FURTHER, 2 * k)
        probe = Probe(query[None])
        while count <= min(_CANDIDATES, len(graph)):
            labels, bounds = graph.nearest(query, count)
            places = (divmod(label, self._chunk_rows) for label in chain(labels.tolist(), waiting))
            seen = [(views[serial], row) for serial, row in places if serial in views]
            rows = [(view, row) for view, row in seen if view.alive[row]]
            if rows:
                keys = np.array([view.keys[row] for view, row in rows])
                subjects = np.array([view.subjects[row] for view, row in rows])
                middle, errors = _estimates(probe, rows)
                first = middle.argmax()
                if middle[first] >= bounds[:_FIRST][-1] + least:
                    candidates = Candidates(k)
                    candidates.offer(middle - errors, middle + errors, keys, subjects)
                    # The graph knows no other vectors than the codes tell.
                    if candidates.floor > bounds[-1] + max(view.error for view in views.values()):
                        return candidates.chosen()
                elif (subjects != subjects[first]).any():
                    return None
            count *= 4
        return None

    def _labels(self, chunk: Chunk, rows: I64) -> I64:
        """Return what rows of a chunk are called in the graph."""
        return chunk.serial * self._chunk_rows + rows

    def _appended(self, chunk: Chunk, start: int, stop: int) -> None:
        if self._linked is not None:
            self._linked.follow(chunk, start, stop)

    def _erase(self, gone: list[Gone], vectors: Sequence[F32]) -> None:
        super()._erase(gone, vectors)
        linked = self._linked
        if linked is not None:
            for chunk, rows, _ in gone:
                linked.doom(self._labels(chunk, rows))
            self._wake()

    def _tend(self) -> None:
        """Begin a graph, or begin anew when too much of it is strangers, or give it up."""
        linked, count = self._linked, len(self)
        if 2 * count < self._least:
            self._linked = None
        elif count >= self._least and (linked is None or linked.graph.strangers > count):
            linked = _Linked(self._dimension, self._threads)
            for chunk in self._chunks.values():
                linked.follow(chunk, 0, chunk.used)
            self._linked = linked
        self._wake()

    def _wake(self) -> None:
        """See to it that somebody works, for the program or this index may end at any time."""
        linked = self._linked
        if linked is not None and linked.claim():
            with suppress(RuntimeError):  # the program is about to end
                self._worker.submit(_work, weakref.ref(self), linked, self._chunk_rows)


def _estimates(probe: Probe, rows: Sequence[tuple[View, int]]) -> tuple[F64, F64]:
    """Return the cosines of a query with rows by their codes, and by how much they may be off."""
    codes = np.array([view.codes[row] for view, row in rows])
    steps, errors = np.array([(view.step, view.error) for view, _ in rows]).T
    return probe.close(0, codes, steps, errors)


def _work(index: weakref.ref[HnswIndex], linked: _Linked, chunk_rows: int) -> None:
    """Do a part of an index's work, and come back for the rest if somebody still uses it."""
    try:
        linked.work(chunk_rows)
    finally:
        linked.release()
    user = index()
    if user is not None and linked.busy:
        user._wake()
