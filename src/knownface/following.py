"""An index that follows the store: built from it, kept in files, brought to any revision.

The index is a cache of numbers. Whoever searches it first learns the service's revision from the
store and has the index brought there, so whoever was told that a face is stored (or deleted) finds
(or misses) it in any process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from knownface.errors import ModelMismatch
from knownface.index import SMALL, Index, View, open_index
from knownface.index.kept import Kept, KeptIndex, Origin
from knownface.store import Census

if TYPE_CHECKING:
    from knownface.store import Changes, Store, Transaction, Vectors

log = logging.getLogger(__name__)

_BATCH: Final = 10_000  # faces read from the store at a time
_REPORT_EVERY: Final = 100_000  # faces, so that a long start shows that it is alive
_SHARED: Final = 8  # an index of which more than one in so many could be mapped is taken up again
# A smaller index is read from the database in an instant, and holds vectors that no file has.
KEEP_FROM: Final = SMALL


@dataclass(frozen=True, slots=True)
class _State:
    """An index that holds at least what the store held at this revision of the service."""

    index: Index
    revision: int


class Follower:
    """The index of a service's embeddings of one model; safe to use from many threads."""

    def __init__(
        self,
        store: Store,
        service_id: int,
        *,
        model: str,
        dimension: int,
        backend: str = "exact",
        kept: KeptIndex | None = None,
        keep_from: int = KEEP_FROM,
        on_built: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep the index in `kept` from so many faces on; see FaceCollection for `on_built`."""
        self._store = store
        self._service_id = service_id
        self._model = model
        self._dimension = dimension
        self._backend = backend
        self._kept = kept
        self._keep_from = keep_from
        self._on_built = on_built
        self._taken_up: int | None = None  # the revision of the kept index that this one began as
        self._state: _State | None = None
        self._refreshing = threading.Lock()

    @property
    def index(self) -> Index | None:
        """The index as it is, if there is one."""
        state = self._state
        return None if state is None else state.index

    def release(self) -> None:
        """Give the index back; it is made anew when it is asked for."""
        self._state = None

    def close(self) -> None:
        """Give everything back; nobody may ask for the index any more."""
        self.release()
        if self._kept is not None:
            self._kept.close()

    def fresh(self, revision: int) -> Index:
        """Return an index at this revision or a later one. ServiceNotFound, ModelMismatch."""
        state = self._state
        if state is None or state.revision < revision:
            with self._refreshing:
                state = self._state
                if state is None:
                    state = self._state = self._begun()
                    self._on_built()
                elif state.revision < revision:
                    with self._store.snapshot() as tx:
                        state = self._state = self._advanced(tx, state)
        return state.index

    def keep(self) -> bool:
        """Write the index to its files, if it is not there; tell whether it is, as a whole.

        Of several processes one writes. All of them then use the files where they are, instead of
        memory of their own. The index should be up to date: what it erases ends a save.
        """
        state, kept = self._state, self._kept
        if kept is None or state is None or len(state.index) < self._keep_from:
            return False
        origin, wanted = kept.origin(), (self._model, state.revision)
        done = origin is not None and (origin.model, origin.revision) == wanted
        if not done:
            with kept.saving() as ready:
                done = ready and self._saved(kept)
        self._share(kept)
        return done

    def _saved(self, kept: KeptIndex) -> bool:
        with self._store.snapshot() as tx:
            with self._refreshing:
                if self._state is None:
                    return False
                self._state = state = self._advanced(tx, self._state)
                views = state.index.views()
            origin = Origin(self._model, self._dimension, state.revision, self._proof(tx, views))
        return kept.save(origin, views)

    def _share(self, kept: KeptIndex) -> None:
        """Take the files up in place of what is in memory, where that is much."""
        state, origin = self._state, kept.origin()
        if state is None or _SHARED * state.index.unshared <= len(state.index):
            return
        if origin is None or origin.revision == self._taken_up or (found := kept.read()) is None:
            return
        with self._store.snapshot() as tx:
            restored = self._restored(tx, found, kept)
        with self._refreshing:
            if restored is not None and self._state is not None:
                with self._store.snapshot() as tx:
                    self._state = self._advanced(tx, restored)

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

    def _begun(self) -> _State:
        # Read before the snapshot begins, which then knows every revision they may be of.
        kept, found = self._kept, None if self._kept is None else self._kept.read()
        with self._store.snapshot() as tx:
            self._refuse_other_model(tx)
            restored = None
            if kept is not None and found is not None:
                restored = self._restored(tx, found, kept)
            return restored or self._built(tx)

    def _advanced(self, tx: Transaction, state: _State) -> _State:
        """Return the state at the snapshot's revision.

        Where a failure cuts this short, the old state stands and the same changes are made again.
        """
        self._refuse_other_model(tx)
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

    def _refuse_other_model(self, tx: Transaction) -> None:
        if (stored := tx.model(self._service_id)) not in (None, self._model):
            raise mixed(str(stored), self._model)

    def _follow(
        self, tx: Transaction, index: Index, put: Sequence[int], removed: Sequence[int]
    ) -> None:
        # Put before remove: a subject whose examples were exchanged is never without one.
        for start in range(0, len(put), _BATCH):
            self._add(index, tx.vectors_of(self._service_id, put[start : start + _BATCH]))
        if removed:
            index.remove(np.array(removed, np.int64))

    def _restored(self, tx: Transaction, found: Kept, kept: KeptIndex) -> _State | None:
        """Bring a kept index to the snapshot's revision, None where it is in doubt."""
        began = time.monotonic()
        origin = found.origin
        changes = None
        if (origin.model, origin.dimension) == (self._model, self._dimension):
            changes = tx.changes(self._service_id, origin.revision)
        index = self._empty_index()
        if changes is None or changes.cleared or not self._filled(tx, index, found, changes, kept):
            log.info("the kept index of service %d is out of date", self._service_id)
            kept.remove()
            return None
        self._taken_up = origin.revision
        seconds = time.monotonic() - began
        log.info(
            "took up the index of service %d: %d faces in %.1f s, %d of them from the database",
            *(self._service_id, len(index), seconds, len(found.lost) + len(changes.put)),
        )
        return _State(index, changes.revision)

    def _filled(
        self, tx: Transaction, index: Index, found: Kept, changes: Changes, kept: KeptIndex
    ) -> bool:
        """Fill an index; tell whether it is then what the database says it should be."""
        # What is overwritten below must not be in a file that somebody may open.
        kept.erase(np.array(changes.removed, np.int64))
        try:
            newest, image_id, *others = found.origin.proof
            if self._image_id(tx, int(str(newest))) not in ("", image_id):
                return False
            index.restore(found.parts)
        except ValueError:
            return False
        self._follow(tx, index, [*found.lost.tolist(), *changes.put], changes.removed)
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
        return open_index(self._backend, self._dimension)

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


def _census(views: Sequence[View]) -> Census:
    """Return the summary of an index that the store gives of what it holds."""
    held = [(view.keys, view.subjects, np.flatnonzero(view.alive[: view.used])) for view in views]
    return Census(
        sum(len(rows) for _, _, rows in held),
        sum(int(keys[rows].sum()) for keys, _, rows in held),
        sum(int(subjects[rows].sum()) for _, subjects, rows in held),
    )


def mixed(stored: str, configured: str) -> ModelMismatch:
    """Return the error for embeddings of one model where another is to be compared."""
    return ModelMismatch(
        f"The service holds embeddings of the model {stored}, which cannot be compared with those "
        f"of {configured}, the model that the server runs. Start it with "
        f"KNOWNFACE_EMBEDDER={stored}, or run `knownface reembed` with --model {configured}."
    )
