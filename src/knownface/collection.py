"""The known faces of a service, searchable: an index that follows the store, which names the hits.

Each search first asks the store for the service's revision and has the index brought there. The
index chooses whom it has to look at; their vectors, and the names of the hits, come from one
snapshot of the store, so that no answer carries a name that was not true while it was made.
Revision and names are remembered until something is committed by anybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from knownface.errors import DeadlineExceeded, InvalidRequest, ModelMismatch, ServiceNotFound
from knownface.following import KEEP_FROM, Follower
from knownface.index import Hit
from knownface.store import Recall
from knownface.types import F32, I64, Calibration, Example, Match

if TYPE_CHECKING:
    from knownface.index.kept import KeptIndex
    from knownface.store import Store, Transaction

_ROUNDS: Final = 5  # searches for one answer, while deletions and merges keep overtaking it
_MOST_KNOWN: Final = 4096  # examples whose names are known without asking the database
_BLOCK: Final = 64  # embeddings searched between two looks at the deadline
# What one answer may hold: a hundred megabytes of JSON help nobody, and cost a gigabyte to make.
MOST_PREDICTIONS: Final = 100_000


class _Known:
    """What the store has said of a service in one state of the database."""

    __slots__ = ("examples", "revision")

    def __init__(self) -> None:
        self.revision: int | None = None
        self.examples: dict[int, Example | None] = {}


class _Reading:
    """What one search reads: all of it in one snapshot, which begins when it is first needed.

    `missed` tells that a vector which the index chose is not there any more.
    """

    def __init__(self, store: Store, recall: Recall[_Known], stack: ExitStack) -> None:
        self._store = store
        self._recall = recall
        self._stack = stack
        self._known: _Known | None = None
        self._tx: Transaction | None = None
        self.missed = False

    @property
    def known(self) -> _Known:
        """What is known already, and to be filled with what the snapshot tells."""
        if self._known is None:
            self._known = self._recall.current()
        return self._known

    @property
    def tx(self) -> Transaction:
        """The snapshot."""
        if self._tx is None:
            # Before it: what comes after could be of a later state than the snapshot.
            self._known = self.known
            self._tx = self._stack.enter_context(self._store.snapshot())
        return self._tx


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
        kept: KeptIndex | None = None,
        keep_from: int = KEEP_FROM,
        on_built: Callable[[FaceCollection], None] = lambda _: None,
    ) -> None:
        """Keep the index in `kept` from so many faces on.

        `on_built` is called when there is an index where none was.
        """
        self._store = store
        self._service_id = service_id
        self._model = model
        self._dimension = dimension
        self._calibration = calibration
        self._follower = Follower(
            store,
            service_id,
            model=model,
            dimension=dimension,
            backend=backend,
            kept=kept,
            keep_from=keep_from,
            on_built=lambda: on_built(self),
        )
        self._recall = Recall(store, _Known)

    def __len__(self) -> int:
        """Return how many faces the index holds now: none before the first search."""
        index = self._follower.index
        return 0 if index is None else len(index)

    @property
    def built(self) -> bool:
        """Whether there is an index yet, be it an empty one."""
        return self._follower.index is not None

    @property
    def nbytes(self) -> int:
        """How much memory the index takes."""
        index = self._follower.index
        return 0 if index is None else index.nbytes

    def release(self) -> None:
        """Give the index back; the next search makes it anew."""
        self._follower.release()
        self._recall.forget()

    def close(self) -> None:
        """Give everything back, also the folder of the kept index; nobody may search any more."""
        self._follower.close()
        self._recall.forget()

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
            _refuse_too_many(len(embeddings), min(k, len(self._follower.fresh(revision))), k)
            matches: list[list[Match]] = []
            for start in range(0, len(embeddings), _BLOCK):
                if deadline is not None and time.monotonic() > deadline:
                    raise DeadlineExceeded
                matches += self._searched(embeddings[start : start + _BLOCK], k, revision)
            return matches

    def refresh(self) -> None:
        """Bring an index that has been built to the store's revision; raises what search does.

        After an erasure this takes the vectors out of memory without waiting for a search.
        """
        self._recall.current()  # lets go of names that are gone
        with self._emptied_when_gone():
            if self.built:
                self._follower.fresh(self._revision())

    def keep(self) -> bool:
        """Keep the index in its folder, if it is large enough: see Follower.keep.

        First it lets go of what other processes have erased, though nobody searches here.
        """
        self.refresh()
        with self._emptied_when_gone():
            return self._follower.keep()

    @contextmanager
    def _emptied_when_gone(self) -> Iterator[None]:
        try:
            yield
        except (ServiceNotFound, ModelMismatch):
            self.release()  # whatever it held, nobody may find it any more
            raise

    def _searched(self, embeddings: F32, k: int, revision: int) -> list[list[Match]]:
        """Search for a few embeddings at once, with what the database holds at one moment.

        That moment comes after the index has chosen: of what it knows, only what was deleted since
        can be missing there. So more embeddings than these need moments of their own.
        """
        for _ in range(_ROUNDS):
            index = self._follower.fresh(revision)
            with ExitStack() as stack:
                reading = _Reading(self._store, self._recall, stack)
                found = index.search(embeddings, k, partial(self._vectors, reading))
                revision, examples = self._identify(found, reading)
            matches = [self._matches(hits, examples) for hits in found]
            if not reading.missed and all(map(_same_length, matches, found)):
                break
        return matches

    def _revision(self) -> int:
        known = self._recall.current()
        if known.revision is None:
            with self._store.snapshot() as tx:
                known.revision = tx.revision(self._service_id)
        return known.revision

    def _vectors(self, reading: _Reading, keys: I64) -> F32:
        """Read what an index asks for: see Source."""
        found, vectors = reading.tx.embeddings_of(self._model, keys.tolist())
        if len(found) == len(keys):
            return vectors
        reading.missed = True
        rows = np.full((len(keys), self._dimension), np.nan, np.float32)
        if len(found):
            rows[np.searchsorted(keys, found)] = vectors
        return rows

    def _identify(
        self, found: Sequence[Sequence[Hit]], reading: _Reading
    ) -> tuple[int, dict[int, Example]]:
        """Return the revision of the service and, at that, the examples behind the hits by key."""
        keys = {hit.key for hits in found for hit in hits}
        known = reading.known
        if len(known.examples) + len(keys) > _MOST_KNOWN:
            known.examples = {}
        examples, revision = known.examples, known.revision
        if revision is not None and keys <= examples.keys() and not reading.missed:
            named = {key: examples[key] for key in keys}
        else:
            revision = known.revision = reading.tx.revision(self._service_id)
            named = dict.fromkeys(keys) | reading.tx.identify(self._service_id, list(keys))
            examples |= named
        return revision, {key: one for key, one in named.items() if one is not None}

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


def _refuse_too_many(faces: int, most: int, k: int) -> None:
    if faces * most > MOST_PREDICTIONS:
        raise InvalidRequest(
            f"{faces} faces with prediction_count {k} could give more than "
            f"{MOST_PREDICTIONS} predictions; ask for fewer of either."
        )


def _same_length(one: Sequence[object], other: Sequence[object]) -> bool:
    return len(one) == len(other)
