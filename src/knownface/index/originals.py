"""The float32 vectors of a small index, so that its searches need to ask nobody for them."""

from __future__ import annotations

import numpy as np

from knownface.index.ranking import Source
from knownface.types import F32, I64

_BESIDES = 240  # bytes that a vector takes besides its numbers, about


class Originals:
    """Vectors [D] by key; for one writer and any number of readers at a time."""

    def __init__(self, dimension: int) -> None:
        self._vectors: dict[int, F32] = {}
        self._each = 4 * dimension + _BESIDES

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return len(self._vectors) * self._each

    def put(self, keys: I64, vectors: F32) -> None:
        for key, vector in zip(keys.tolist(), vectors, strict=True):
            self._vectors[key] = vector.copy()

    def pop(self, keys: I64) -> list[F32]:
        """Forget these keys, and return the vectors that there were, to be overwritten."""
        found = (self._vectors.pop(key, None) for key in keys.tolist())
        return [vector for vector in found if vector is not None]

    def of(self, keys: I64, otherwise: Source) -> F32:
        """Return the vectors of keys, [M, D]: all from elsewhere if but one is not here."""
        found = [self._vectors.get(key) for key in keys.tolist()]
        here = [vector for vector in found if vector is not None]
        return np.stack(here) if len(here) == len(found) else otherwise(keys)
