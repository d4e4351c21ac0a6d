"""Indexes beside what a store would hold of them."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

from knownface.index import Hit, Index
from knownface.types import F32, I64

T = TypeVar("T", bound=Index)


class Stored(Generic[T]):
    """An index, and every vector that it was ever given, for its searches to ask for.

    `asked` collects the keys that were asked for.
    """

    def __init__(self, index: T) -> None:
        self.index = index
        self.given: dict[int, F32] = {}
        self.asked: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.index)

    def add(self, keys: I64, subjects: I64, vectors: F32) -> None:
        self.given.update(zip(keys.tolist(), vectors, strict=False))
        self.index.add(keys, subjects, vectors)

    def remove(self, keys: I64) -> None:
        self.index.remove(keys)

    def clear(self) -> None:
        self.index.clear()

    def search(self, queries: F32, k: int) -> list[list[Hit]]:
        return self.index.search(queries, k, self.vectors)

    def vectors(self, keys: I64) -> F32:
        self.asked.append(keys.tolist())
        return np.stack([self.given[key] for key in keys.tolist()])
