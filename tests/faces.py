"""Made-up faces, collections over them, and a store that others change in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np

from knownface.collection import FaceCollection
from knownface.index.codes import encode, levels, step_of
from knownface.index.kept import KeptIndex
from knownface.store import Store, Transaction
from knownface.types import F32, Calibration, Embedding, Example, Service

MODEL = "sketch"
DIMENSION = 32
CALIBRATION = Calibration(1.16, 6.6)


def unit_vectors(count: int, dimension: int = DIMENSION, seed: int = 0) -> F32:
    """Return `count` random directions: none resembles another."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return cast("F32", (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def code_of(vector: F32) -> bytes:
    """Return a vector as an index holds it, in memory and in files."""
    return encode(vector[None], step_of(int(levels(vector[None])[0]))).codes.tobytes()


def add(store: Store, service: Service, subject: str, vector: F32, model: str = MODEL) -> Example:
    """Store one example without a photograph."""
    with store.begin() as tx:
        return tx.add_example(service.id, subject, Embedding(vector, model), None)


def open_collection(
    store: Store, service: Service, backend: str = "exact", kept: KeptIndex | None = None
) -> FaceCollection:
    """Return the collection of a process that has just begun, which keeps the fewest faces."""
    return FaceCollection(
        store,
        service.id,
        model=MODEL,
        dimension=DIMENSION,
        calibration=CALIBRATION,
        backend=backend,
        kept=kept,
        keep_from=1,
    )


def names(collection: FaceCollection, vector: F32, k: int = 10) -> list[str]:
    """Return the subjects that one search finds, best first."""
    return [match.subject for match in collection.search(vector[None], k)[0]]


class OvertakenStore(Store):
    """A store where things happen around a snapshot, as another client would do them.

    Each snapshot takes the next of `before`, and runs it first unless it is None; `after` runs
    once, when the next snapshot has ended. It does not tell its state, so nothing spares snapshots.
    """

    before: list[Callable[[], object] | None]
    after: Callable[[], object] | None
    snapshots: int

    def prepare(
        self,
        *before: Callable[[], object] | None,
        after: Callable[[], object] | None = None,
    ) -> None:
        self.before, self.after, self.snapshots = list(before), after, 0

    def state(self) -> object | None:
        return None

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        self.snapshots += 1
        before = self.before.pop(0) if self.before else None
        after, self.after = self.after, None
        if before is not None:
            before()
        with super().snapshot() as tx:
            yield tx
        if after is not None:
            after()
