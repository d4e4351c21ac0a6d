"""The known faces of a service, searchable: an index that follows the store, which names the hits.

The index is a cache of numbers. Each search first asks the store for the service's revision and
brings the index there, so whoever was told that a face is stored (or deleted) finds (or misses) it
in any process. After the search the store names the hits, so that no answer carries a name that
was not true while it was made.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from knownface.errors import (
    ConfigurationError,
    DeadlineExceeded,
    InvalidRequest,
    ModelMismatch,
    ServiceNotFound,
    Unavailable,
)
from knownface.index import Hit, Index, View, open_index
from knownface.index.kept import Kept, KeptIndex, Origin
from knownface.keeping import kept_index
from knownface.store import Census
from knownface.types import F32, Calibration, Example, Match

if TYPE_CHECKING:
    from knownface.store import Changes, Store, Transaction, Vectors
    from knownface.vision.catalog import ModelSpec

log = logging.getLogger(__name__)

_BATCH: Final = 10_000  # faces read from the store at a time
_REPORT_EVERY: Final = 100_000  # faces, so that a long start shows that it is alive
_ROUNDS: Final = 5  # searches for one answer, while deletions and merges keep overtaking it
_SWEEP_SECONDS: Final = 60.0
_BLOCK: Final = 64  # embeddings searched between two looks at the deadline
# Fewer faces are read from the database in an instant.
KEEP_FROM: Final = 10_000
# What one answer may hold: a hundred megabytes of JSON help nobody, and cost a gigabyte to make.
MOST_PREDICTIONS: Final = 100_000


@dataclass(frozen=True, slots=True)
class _State:
    """An index that holds at least what the store held at this revision of the service."""

    index: Index
    revision: int


class FaceCollection:
    """The known faces of one service, as embeddings of one model; safe to use from many threads."""

    def __init__(
        self,
        store: Store,
        service_id: int,
        *,
        model: str,
        dimension: int,
        calibration: Calibration,
        backend: str = "exact",
        folder: Path | None = None,
        kept: KeptIndex | None = None,
        keep_from: int = KEEP_FROM,
        on_built: Callable[[FaceCollection], None] = lambda _: None,
    ) -> None:
        """Keep the index in `kept` from so many faces on; see open_index for `folder`.

        `on_built` is called when there is an index where none was.
        """
        self._store = store
        self._service_id = service_id
        self._model = model
        self._dimension = dimension
        self._calibration = calibration
        self._backend = backend
        self._folder = folder
        self._kept = kept
        self._keep_from = keep_from
        self._on_built = on_built
        self._kept_revision: int | None = None
        self._state: _State | None = None
        self._refreshing = threading.Lock()

    def __len__(self) -> int:
        """Return how many faces the index holds now: none before the first search."""
        state = self._state
        return 0 if state is None else len(state.index)

    @property
    def built(self) -> bool:
        """Whether there is an index yet, be it an empty one."""
        return self._state is not None

    @property
    def nbytes(self) -> int:
        """How much memory the index takes."""
        state = self._state
        return 0 if state is None else state.index.nbytes

    def release(self) -> None:
        """Give the index back; the next search makes it anew."""
        self._state = None

    def close(self) -> None:
        """Give everything back, also the folder of the kept index; nobody may search any more."""
        self.release()
        if self._kept is not None:
            self._kept.close()

    def search(self, embeddings: F32, k: int, deadline: float | None = None) -> list[list[Match]]:
        """Return for each embedding of [Q, D] the k subjects most like it, the most similar first.

        Each subject comes once, by its best example. Raises ServiceNotFound, ModelMismatch when
        the service holds embeddings of another model, InvalidRequest for another width or more
        than MOST_PREDICTIONS matches, and DeadlineExceeded (in seconds of `time.monotonic`).
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self._dimension:
            raise InvalidRequest(
                f"An embedding of the model {self._model} has {self._dimension} numbers."
            )
        with self._emptied_when_gone():
            revision = self._revision()
            for _ in range(_ROUNDS):
                found = self._searched(self._fresh(revision), embeddings, k, deadline)
                revision, examples = self._identify(found)
                matches = [self._matches(hits, examples) for hits in found]
                if all(map(_same_length, matches, found)):
                    break
            return matches

    def refresh(self) -> None:
        """Bring an index that has been built to the store's revision; raises what search does.

        After an erasure this takes the vectors out of memory without waiting for a search.
        """
        with self._emptied_when_gone():
            if self.built:
                self._fresh(self._revision())

    def keep(self) -> bool:
        """Write the index to its folder, if it is not there; tell whether it is, as a whole.

        Searches and writes go on meanwhile. A deletion ends it, and then it is to be repeated.
        """
        state, kept = self._state, self._kept
        if kept is None or state is None or len(state.index) < self._keep_from:
            return False
        if state.revision == self._kept_revision and kept.origin() is not None:
            return True
        self.refresh()  # what it erases would end the save
        with self._emptied_when_gone(), kept.saving() as ready:
            return ready and self._saved(kept)

    def _saved(self, kept: KeptIndex) -> bool:
        with self._store.snapshot() as tx:
            with self._refreshing:
                if self._state is None:
                    return False
                self._state = state = self._advanced(tx, self._state)
                views = state.index.views()
            origin = Origin(self._model, self._dimension, state.revision, self._proof(tx, views))
        if not kept.save(origin, views):
            return False
        self._kept_revision = state.revision
        return True

    def _proof(self, tx: Transaction, views: Sequence[View]) -> list[object]:
        """Return what tells this index from others, of other databases or of older copies of one.

        It is the newest example, by two names, and what the database holds besides the index.
        """
        held, stored = _census(views), tx.census(self._service_id)
        newest = max((int(view.keys[: view.used].max()) for view in views), default=0)
        return [newest, self._image_id(tx, newest), *stored.besides(held)]

    def _image_id(self, tx: Transaction, key: int) -> str:
        example = tx.identify(self._service_id, [key]).get(key)
        return "" if example is None else str(example.image_id)

    @contextmanager
    def _emptied_when_gone(self) -> Iterator[None]:
        try:
            yield
        except (ServiceNotFound, ModelMismatch):
            self._state = None  # whatever it held, nobody may find it any more
            raise

    @staticmethod
    def _searched(index: Index, embeddings: F32, k: int, deadline: float | None) -> list[list[Hit]]:
        if len(embeddings) * min(k, len(index)) > MOST_PREDICTIONS:
            raise InvalidRequest(
                f"{len(embeddings)} faces with prediction_count {k} could give more than "
                f"{MOST_PREDICTIONS} predictions; ask for fewer of either."
            )
        found: list[list[Hit]] = []
        for start in range(0, len(embeddings), _BLOCK):
            if deadline is not None and time.monotonic() > deadline:
                raise DeadlineExceeded
            found += index.search(embeddings[start : start + _BLOCK], k)
        return found

    def _revision(self) -> int:
        with self._store.snapshot() as tx:
            return tx.revision(self._service_id)

    def _identify(self, found: Sequence[Sequence[Hit]]) -> tuple[int, dict[int, Example]]:
        """Return the revision of the service and, at that, the examples behind the hits by key."""
        keys = list({hit.key for hits in found for hit in hits})
        with self._store.snapshot() as tx:
            return tx.revision(self._service_id), tx.identify(self._service_id, keys)

    def _matches(self, hits: Sequence[Hit], examples: Mapping[int, Example]) -> list[Match]:
        """Name the hits; those whose example is gone, or whose subject is there, are left out.

        Two hits have one subject when their subjects were merged since the search began.
        """
        matches: dict[str, Match] = {}
        for hit in hits:
            example = examples.get(hit.key)
            if example is not None:
                similarity = self._calibration.similarity(hit.cosine)
                match = Match(example.subject, example.image_id, hit.cosine, similarity)
                matches.setdefault(example.subject, match)
        return list(matches.values())

    def _fresh(self, revision: int) -> Index:
        """Return an index at this revision or a later one."""
        state = self._state
        if state is None or state.revision < revision:
            with self._refreshing:
                state = self._state
                if state is None or state.revision < revision:
                    before = state
                    with self._store.snapshot() as tx:
                        state = self._advanced(tx, state)
                    self._state = state
                    if before is None:
                        self._on_built(self)
        return state.index

    def _advanced(self, tx: Transaction, state: _State | None) -> _State:
        """Return the state at the snapshot's revision.

        Where a failure cuts this short, the old state stands and the same changes are made again.
        """
        if (stored := tx.model(self._service_id)) not in (None, self._model):
            raise mixed(str(stored), self._model)
        if state is None:
            return self._restored(tx) or self._built(tx)
        changes = tx.changes(self._service_id, state.revision)
        if self._kept is not None:
            if changes is None or changes.cleared:
                self._kept.remove()
            else:
                self._kept.erase(np.array(changes.removed, np.int64))
        if changes is None:
            return self._built(tx)
        # Searches go on meanwhile: they must not find an index that is only half filled again.
        index = self._empty_index() if changes.cleared else state.index
        self._follow(tx, index, changes.put, changes.removed)
        return _State(index, changes.revision)

    def _follow(
        self, tx: Transaction, index: Index, put: Sequence[int], removed: Sequence[int]
    ) -> None:
        # Put before remove: a subject whose examples were exchanged is never without one.
        for start in range(0, len(put), _BATCH):
            self._add(index, tx.vectors_of(self._service_id, put[start : start + _BATCH]))
        if removed:
            index.remove(np.array(removed, np.int64))

    def _restored(self, tx: Transaction) -> _State | None:
        """Take up the kept index and bring it to the snapshot's revision, None where in doubt."""
        began = time.monotonic()
        if self._kept is None or (kept := self._kept.read()) is None:
            return None
        origin = kept.origin
        changes = None
        if (origin.model, origin.dimension) == (self._model, self._dimension):
            changes = tx.changes(self._service_id, origin.revision)
        index = self._empty_index()
        if changes is None or changes.cleared or not self._taken_up(tx, index, kept, changes):
            log.info("the kept index of service %d is out of date", self._service_id)
            self._kept.remove()
            return None
        self._kept_revision = origin.revision
        seconds = time.monotonic() - began
        log.info(
            "took up the index of service %d: %d faces in %.1f s, %d of them from the database",
            *(self._service_id, len(index), seconds, len(kept.lost) + len(changes.put)),
        )
        return _State(index, changes.revision)

    def _taken_up(self, tx: Transaction, index: Index, kept: Kept, changes: Changes) -> bool:
        """Fill an index; tell whether it is then what the database says it should be."""
        try:
            newest, image_id, *others = kept.origin.proof
            if self._image_id(tx, int(str(newest))) not in ("", image_id):
                return False
            index.restore(kept.parts)
        except ValueError:
            return False
        self._follow(tx, index, [*kept.lost.tolist(), *changes.put], changes.removed)
        stored = tx.census(self._service_id)
        return stored.besides(_census(index.views())) == others

    def _built(self, tx: Transaction) -> _State:
        """Read everything into a new index, piece by piece."""
        revision = tx.revision(self._service_id)
        index = self._empty_index()
        began, reported, last = time.monotonic(), 0, 0
        while len(vectors := tx.vectors(self._service_id, after_key=last, limit=_BATCH)):
            self._add(index, vectors)
            last = int(vectors.keys[-1])
            if len(index) >= reported + _REPORT_EVERY:
                reported = len(index)
                log.info("indexing service %d: %d faces so far", self._service_id, reported)
        seconds = time.monotonic() - began
        log.log(
            logging.INFO if reported else logging.DEBUG,
            "indexed service %d: %d faces in %.1f s",
            *(self._service_id, len(index), seconds),
        )
        return _State(index, revision)

    def _empty_index(self) -> Index:
        return open_index(self._backend, self._dimension, folder=self._folder)

    def _add(self, index: Index, vectors: Vectors) -> None:
        if not len(vectors.keys):  # all of them are gone, and nothing has no width
            return
        width = vectors.matrix.shape[1]
        if width != self._dimension:
            raise ModelMismatch(
                f"The service holds embeddings of {width} numbers under the name of the model "
                f"{self._model}, which makes {self._dimension}. Delete these faces and add them "
                "again."
            )
        index.add(vectors.keys, vectors.subjects, vectors.matrix)


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
        folder: Path | None = None,
        kept: Path | None = None,
        keep_from: int = KEEP_FROM,
        memory: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raise ConfigurationError when there is no such backend or the model is no embedder.

        In `folder` an index may keep private files: see knownface.index.Backend. In `kept` indexes
        of so many faces and more are kept for the next process. Beyond so many bytes of `memory`,
        unless it is zero, indexes are given back, those first that nobody asked for the longest.
        """
        self._store = store
        self._embedder = embedder
        self._backend = backend
        open_index(backend, self._numbers(embedder)[0])
        self._folder = folder
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
                    folder=self._folder,
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
        """Write every index that has changed to its folder, for the next process."""
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


def _census(views: Sequence[View]) -> Census:
    """Return the summary of an index that the store gives of what it holds."""
    held = [(view.keys, view.subjects, np.flatnonzero(view.alive[: view.used])) for view in views]
    return Census(
        sum(len(rows) for _, _, rows in held),
        sum(int(keys[rows].sum()) for keys, _, rows in held),
        sum(int(subjects[rows].sum()) for _, subjects, rows in held),
    )


def _same_length(one: Sequence[object], other: Sequence[object]) -> bool:
    return len(one) == len(other)


def mixed(stored: str, configured: str) -> ModelMismatch:
    """Return the error for embeddings of one model where another is to be compared."""
    return ModelMismatch(
        f"The service holds embeddings of the model {stored}, which cannot be compared with those "
        f"of {configured}, the model that the server runs. Start it with "
        f"KNOWNFACE_EMBEDDER={stored}, or run `knownface reembed` with --model {configured}."
    )
