"""Nearest-subject search: one protocol, several backends, each a cache of the store.

A backend is one file and one line in `BACKENDS`; the contract tests run against every name in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from knownface.errors import ConfigurationError
from knownface.index.chunks import View
from knownface.index.exact import SMALL, ExactIndex
from knownface.index.hnsw import HnswIndex
from knownface.index.ranking import Hit, Source, cosines
from knownface.index.segments import Rows
from knownface.types import F32, I64

__all__ = [
    "BACKENDS",
    "SMALL",
    "Backend",
    "Hit",
    "Index",
    "Source",
    "View",
    "cosines",
    "open_index",
]


class Index(Protocol):
    """Known faces by key, searchable by likeness.

    One writer at a time (the caller's lock). Any number of readers need no lock, and each search
    sees the index as it was between two calls of the writer. Rows and queries are unit vectors,
    float32 [D]; keys and subjects are any int64. Whatever a backend computes with, it reports
    `cosines`, so all backends give one pair of faces the same cosine, bit for bit. For these it
    asks a Source, given with each search, for the vectors of a few keys.
    """

    def __len__(self) -> int:
        """Return how many keys the index holds."""

    def add(self, keys: I64, subjects: I64, vectors: F32) -> None:
        """Take in faces, [N], [N] and [N, D]; the last vector given for a key replaces others."""

    def remove(self, keys: I64) -> None:
        """Forget these keys, [N], and overwrite or free what is of them; ignores unknown keys."""

    def clear(self) -> None:
        """Forget everything."""

    def views(self) -> tuple[View, ...]:
        """Return all that it holds, chunk by chunk, as one search would see it.

        What is shown does not change as long as these are held.
        """

    def restore(self, parts: Sequence[Rows]) -> None:
        """Fill an empty index with what another of its kind showed in its views.

        ValueError when it cannot have been one of its kind; then it is of no use any more.
        """

    @property
    def nbytes(self) -> int:
        """How much memory it takes, besides what lies in files."""

    @property
    def unshared(self) -> int:
        """How many rows take memory of this process which a restored index would share."""

    def search(self, queries: F32, k: int, vectors: Source) -> list[list[Hit]]:
        """Return for each query of [Q, D] the k nearest subjects, each once, by its best example.

        Cosine descending, ties by key ascending; fewer than k where there are fewer subjects. Where
        `vectors` finds that one is not there any more, the answer may be short, and is to be asked
        for again once its key has been removed.
        """


class Backend(Protocol):
    """What makes an empty index for embeddings of a dimension."""

    def __call__(self, dimension: int) -> Index: ...


BACKENDS: Mapping[str, Backend] = MappingProxyType({"exact": ExactIndex, "hnsw": HnswIndex})


def open_index(backend: str, dimension: int) -> Index:
    """Return an empty index, or raise ConfigurationError."""
    if backend not in BACKENDS:
        known = ", ".join(sorted(BACKENDS))
        raise ConfigurationError(f'There is no index "{backend}"; choose one of: {known}.')
    return BACKENDS[backend](dimension)
