"""The face collections of all services, within a budget of memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from knownface.collection import FaceCollection
from knownface.errors import ConfigurationError, ModelMismatch, ServiceNotFound, Unavailable
from knownface.following import KEEP_FROM
from knownface.index import open_index
from knownface.keeping import kept_index
from knownface.types import Calibration

if TYPE_CHECKING:
    from knownface.store import Store
    from knownface.vision.catalog import ModelSpec

log = logging.getLogger(__name__)

_SWEEP_SECONDS: Final = 60.0


class Collections:
    """The face collections of all services, each built when it is first searched.

    While a service changes its model there may be two of it, of which one is about to be emptied.
    """

    def __init__(
        self,
        store: Store,
        embedder: ModelSpec,
        *,
        backend: str = "exact",
        kept: Path | None = None,
        keep_from: int = KEEP_FROM,
        memory: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raise ConfigurationError when there is no such backend or the model is no embedder.

        In `kept` indexes of so many faces and more are kept, for other processes and for the next.
        Beyond so many bytes of `memory`, unless it is zero, indexes are given back, those first
        that nobody asked for the longest.
        """
        self._store = store
        self._embedder = embedder
        self._backend = backend
        open_index(backend, self._numbers(embedder)[0])
        self._kept = kept
        self._keep_from = keep_from
        self._memory = memory
        self._clock = clock
        self._lock = threading.Lock()
        self._collections: dict[tuple[int, str], FaceCollection] = {}
        self._sweep_due = clock() + _SWEEP_SECONDS

    def get(self, service_id: int, embedder: ModelSpec | None = None) -> FaceCollection:
        """Return a service's collection at once; its first search builds it, delaying no other.

        It is one of embeddings of this model, of the usual one where none is given.
        """
        self._sweep()
        embedder = embedder or self._embedder
        dimension, calibration = self._numbers(embedder)
        with self._lock:
            collection = self._collections.pop((service_id, embedder.name), None)
            if collection is None:
                collection = FaceCollection(
                    self._store,
                    service_id,
                    model=embedder.name,
                    dimension=dimension,
                    calibration=calibration,
                    backend=self._backend,
                    kept=None if self._kept is None else kept_index(self._kept, service_id),
                    keep_from=self._keep_from,
                    on_built=self._make_room,
                )
            # At the end: the order is that of their use.
            self._collections[service_id, embedder.name] = collection
        self._make_room(collection)
        return collection

    def refresh(self, service_id: int) -> None:
        """Bring a service's index up to date if there is one: see FaceCollection.refresh.

        One of a model that the service has left is emptied and forgotten.
        """
        for key, collection in self._of(service_id):
            try:
                collection.refresh()
            except ModelMismatch:
                self._forget([key])

    def drop(self, service_id: int) -> None:
        """Forget a service's index; running searches still end well."""
        self._forget([key for key, _ in self._of(service_id)])

    def keep(self) -> None:
        """Keep every index that is large enough: see FaceCollection.keep."""
        with self._lock:
            collections = list(self._collections.values())
        for collection in collections:
            try:
                collection.keep()
            except (ServiceNotFound, ModelMismatch):
                continue
            except OSError as error:
                log.warning("an index is not kept: %s", error)

    def close(self) -> None:
        """Give everything back: see FaceCollection.close."""
        with self._lock:
            collections = list(self._collections.values())
            self._collections.clear()
        for collection in collections:
            collection.close()

    def sizes(self) -> dict[int, int]:
        """Return how many faces each index holds, by service; what is not built is left out."""
        return {service_id: faces for service_id, (faces, _) in self.held().items()}

    def held(self) -> dict[int, tuple[int, int]]:
        """Return faces and bytes of each index that is built, by service."""
        with suppress(Unavailable):
            self._sweep()
        with self._lock:
            collections = dict(self._collections)
        held: dict[int, tuple[int, int]] = {}
        for (service_id, _), one in collections.items():
            if one.built:
                faces, size = held.get(service_id, (0, 0))
                held[service_id] = faces + len(one), size + one.nbytes
        return held

    def _make_room(self, wanted: FaceCollection) -> None:
        """Give back what is too much, but for one: searches in what is given back end well."""
        if not self._memory:
            return
        with self._lock:
            built = [collection for collection in self._collections.values() if collection.built]
        sizes = [collection.nbytes for collection in built]
        excess = sum(sizes) - self._memory
        for collection, size in zip(built, sizes, strict=True):
            if excess <= 0:
                return
            if collection is not wanted:
                collection.release()
                excess -= size

    def _of(self, service_id: int) -> list[tuple[tuple[int, str], FaceCollection]]:
        with self._lock:
            return [one for one in self._collections.items() if one[0][0] == service_id]

    def _forget(self, keys: Iterable[tuple[int, str]]) -> None:
        with self._lock:
            for key in keys:
                self._collections.pop(key, None)

    @staticmethod
    def _numbers(embedder: ModelSpec) -> tuple[int, Calibration]:
        if embedder.dimension is None or embedder.calibration is None:
            raise ConfigurationError(f"The model {embedder.name} does not make embeddings.")
        return embedder.dimension, embedder.calibration

    def _sweep(self) -> None:
        """Now and then forget services that another process deleted or changed the model of."""
        with self._lock:
            if self._clock() < self._sweep_due:
                return
            self._sweep_due = self._clock() + _SWEEP_SECONDS
            held = set(self._collections)
        with self._store.snapshot() as tx:
            usual = self._embedder.name
            existing = {(one.id, one.embedder or usual) for one in tx.services(None)}
        self._forget(held - existing)
