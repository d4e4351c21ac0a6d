"""A graph of neighbours (HNSW): finds vectors like a query, nearly always the nearest ones.

The library takes a removed vector out of the answers, but leaves its numbers in memory until its
place is taken by another. So each place that becomes free is taken at once by a stranger: a random
direction under a label of its own, which makes room for the next real vector.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from knownface.types import F32, I64

if TYPE_CHECKING:
    from usearch.index import Index as Links

# Measured with half a million faces of 128 numbers that spread as real ones do: fewer links find
# less and more take longer to place. A longer search is not needed by whoever knows when an answer
# is not sure: see knownface.index.hnsw.
_LINKS: Final = 32
_PLACING: Final = 128
_SEARCHING: Final = 96
_FIRST_STRANGER: Final = 2**62
ERROR: Final = 2.0**-7  # bfloat16 keeps eight bits of each number of both vectors


class Graph:
    """Vectors [D] under labels from 0 to 2**62 - 1, by likeness; many readers or one writer."""

    def __init__(self, dimension: int, seed: int = 0) -> None:
        self._links = _open_links(dimension)
        self._gate = _Gate()
        self._random = np.random.default_rng(seed)
        self._strangers: list[int] = []
        self._next = _FIRST_STRANGER

    def __len__(self) -> int:
        """Return how many places are taken, be it by strangers."""
        return len(self._links)

    @property
    def strangers(self) -> int:
        return len(self._strangers)

    def add(self, labels: I64, vectors: F32, threads: int = 1) -> None:
        """Place vectors, [N, D], under labels, [N], that are not in use, several at a time."""
        if threads > 1:
            # What is placed at the same moment does not see each other, and pictures of one person
            # come one after the other.
            order = self._random.permutation(len(labels))
            labels, vectors = labels[order], vectors[order]
        with self._gate.writing():
            leaving, self._strangers = (
                self._strangers[: len(labels)],
                self._strangers[len(labels) :],
            )
            if leaving:
                self._links.remove(_unsigned(leaving))
            self._links.add(labels.astype(np.uint64), vectors, threads=threads)

    def remove(self, labels: I64) -> None:
        """Overwrite the vectors under these labels; ignores unknown ones."""
        with self._gate.writing():
            named = labels.astype(np.uint64)
            named = named[self._links.contains(named)]
            if len(named) == 0:
                return
            strangers = list(range(self._next, self._next + len(named)))
            self._next += len(named)
            directions = self._random.standard_normal((len(named), self._links.ndim))
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            self._links.remove(named)
            self._links.add(_unsigned(strangers), directions.astype(np.float32), threads=1)
            self._strangers += strangers

    def nearest(self, query: F32, count: int) -> tuple[I64, F32]:
        """Return labels of about the nearest `count` vectors, and what no cosine exceeds.

        The latter are bounds, descending, of the cosines of all that were found, strangers too: as
        far as the graph finds what is nearest, nothing else exceeds the last of them.
        """
        with self._gate.reading():
            found = self._links.search(query, count, threads=1)
            labels = np.asarray(found.keys)
            bounds: F32 = np.float32(1.0 + ERROR) - np.asarray(found.distances, np.float32)
        return labels[labels < _FIRST_STRANGER].astype(np.int64), bounds

    def saved(self) -> bytes:
        """Return all that the graph holds."""
        with self._gate.reading():
            saved = self._links.save(None)
        return bytes(saved or b"")


def _open_links(dimension: int) -> Links:
    """Return an empty index of the library, which nobody pays for who has no graph."""
    # The process dies when onnxruntime is loaded after usearch (1.32 and 2.26.6, on Linux); the
    # other way round both work.
    with suppress(ImportError):
        importlib.import_module("onnxruntime")
    from usearch.index import Index as Links

    return Links(
        ndim=dimension,
        metric="ip",
        dtype="bf16",
        connectivity=_LINKS,
        expansion_add=_PLACING,
        expansion_search=_SEARCHING,
    )


def _unsigned(labels: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(labels, np.uint64)


class _Gate:
    """Lets in any number of readers or one writer, who is let in before readers that come later."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if not self._readers:
                    self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._closed = True
            while self._readers:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()
