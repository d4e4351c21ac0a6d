"""The change of embedders, worked on beside the requests of a running server.

Each process looks for changes that were asked for; whichever claims one reads the photographs of
its examples, embeds them with the new model and stores what comes of it, some at a time, so that a
process that is killed costs no more than those. At the end the store compares the new embeddings,
all at once. Requests come first: a picture is only begun when none of theirs waits for a model.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from knownface.background import Background
from knownface.collections_by_service import Collections
from knownface.errors import (
    ConfigurationError,
    InvalidRequest,
    KnownfaceError,
    ModelUnavailable,
    PayloadTooLarge,
    ServiceNotFound,
)
from knownface.recognition import Options, Recognition
from knownface.store import Store
from knownface.types import Embedding, Reembedding, ReembeddingState

log = logging.getLogger(__name__)

NO_PHOTOGRAPH: Final = "No photograph of it is kept"

_BATCH: Final = 4  # pictures of one thread between two renewals of the claim
_CLEANED: Final = 500  # old vectors removed in one transaction
_GIVE_WAY_SECONDS: Final = 1.0  # for one picture, or a busy server would never be done


class Reembedder(Background):
    """One process's share in the changes.

    `threads` pictures are worked on at a time. One that is `polite` lets requests go first.
    """

    def __init__(
        self,
        store: Store,
        recognition: Recognition,
        collections: Collections,
        *,
        threads: int = 1,
    ) -> None:
        super().__init__(
            "reembed",
            log,
            waits="changes of embedders wait",
            failed="a change of embedder failed and is tried again",
        )
        self.threads = threads
        self.polite = True
        self._store = store
        self._recognition = recognition
        self._pipeline = recognition.pipeline
        self._collections = collections
        self._seen: dict[int, str | None] = {}

    def turn(self) -> None:
        """Forget what earlier changes made useless, and do all the work there is now."""
        with self._store.snapshot() as tx:
            jobs = tx.open_reembeddings()
            chosen = {service.id: service.embedder for service in tx.services()}
        self._forget(chosen)
        for job in jobs:
            if self._mine(job.service_id, working=job.working):
                self._attempt(job)

    def _attempt(self, job: Reembedding) -> None:
        with self._store.begin() as tx:
            if not tx.claim(job.service_id, self._name):
                return
        try:
            if job.state is ReembeddingState.RUNNING:
                self._work(job)
            self._clean(job)
        except ServiceNotFound:
            log.info("a service was deleted on its way to another embedder")
        except (ModelUnavailable, ConfigurationError) as error:
            log.error("a change of embedder failed", extra={"reason": error.message})
            with self._store.begin() as tx:
                tx.fail(job.service_id, self._name, error.message)
        finally:
            with self._store.begin() as tx:
                tx.release(job.service_id, self._name)

    def _work(self, job: Reembedding) -> None:
        self._require(job.model)
        with self._store.begin() as tx:
            tx.survey(job.service_id, self._name)
            found = tx.reembedding(job.service_id) or job
        about = {"service": job.service_id, "model": job.model}
        counts = {"done": found.done, "total": found.total}
        log.info("changing the embedder of a service", extra=about | counts)
        last = 0
        with ThreadPoolExecutor(self.threads, thread_name_prefix="reembed") as pool:
            while not self.stopping.is_set():
                with self._store.snapshot() as tx:
                    limit = _BATCH * self.threads
                    keys = tx.lacking(job.service_id, job.model, after_key=last, limit=limit)
                if keys:
                    if not self._embed(job, keys, pool):
                        return
                    last = keys[-1]
                elif self._switch(job, last):
                    break
                elif not self._still(job):
                    return

    def _embed(self, job: Reembedding, keys: Sequence[int], pool: ThreadPoolExecutor) -> bool:
        """Embed some examples; False when another process is at it now, or nobody any more."""
        outcomes = list(pool.map(lambda key: self._outcome(key, job.model), keys))
        pairs = list(zip(keys, outcomes, strict=True))
        found = {key: made for key, made in pairs if isinstance(made, Embedding)}
        without = {key: reason for key, reason in pairs if isinstance(reason, str)}
        with self._store.begin() as tx:
            return tx.record(job.service_id, self._name, found, without)

    def _outcome(self, key: int, model: str) -> Embedding | str | None:
        """Return an example's embedding, or why it gets none; None when the program stops."""
        self._give_way()
        if self.stopping.is_set():
            return None
        with self._store.snapshot() as tx:
            content = tx.content(key)
        if content is None:
            return NO_PHOTOGRAPH
        spec = self._pipeline.embedder_named(model)
        try:
            return self._recognition.embedding_of(content, spec, Options())
        except (InvalidRequest, PayloadTooLarge) as error:
            return error.message
        except ModelUnavailable as error:
            self._require(model)  # or it is not this picture's fault
            return error.message
        except KnownfaceError:
            raise  # too busy, or stopping: it is tried again
        except Exception as error:
            log.exception("an example could not be embedded")
            return f"The models failed on it ({type(error).__name__})"

    def _require(self, model: str) -> None:
        """Raise ModelUnavailable unless the models that the work needs can be had."""
        self._pipeline.open_embedder(model).load()
        self._pipeline.networks[self._pipeline.detector.name].load()

    def _switch(self, job: Reembedding, last: int) -> bool:
        with self._store.begin() as tx:
            if not tx.switch(job.service_id, self._name, after_key=last):
                return False
            ended = tx.reembedding(job.service_id)
        about = {"service": job.service_id, "model": job.model}
        if ended and ended.failure:
            log.error("a change of embedder failed", extra=about | {"reason": ended.failure})
        else:
            log.info("changed the embedder of a service", extra=about)
        return True

    def _still(self, job: Reembedding) -> bool:
        """Tell whether it is this process's to go on: that examples were added meanwhile."""
        with self._store.begin() as tx:
            if not tx.claim(job.service_id, self._name):
                return False
            now = tx.reembedding(job.service_id)
        return (
            now is not None
            and now.state is ReembeddingState.RUNNING
            and (now.model, now.queued_at) == (job.model, job.queued_at)
        )

    def _clean(self, job: Reembedding) -> None:
        last: int | None = 0
        while last is not None and not self.stopping.is_set():
            with self._store.begin() as tx:
                last = tx.clean(job.service_id, self._name, after_key=last, limit=_CLEANED)

    def _give_way(self) -> None:
        """Wait while requests wait for a model."""
        until = time.monotonic() + _GIVE_WAY_SECONDS
        while (
            self.polite
            and any(self._pipeline.scheduler.depth().values())
            and time.monotonic() < until
            and not self.stopping.is_set()
        ):
            time.sleep(0.01)

    def _forget(self, chosen: dict[int, str | None]) -> None:
        """Take out of memory what served a model that no service goes by any more."""
        for service_id, embedder in chosen.items():
            if self._seen.get(service_id, embedder) != embedder:
                self._collections.refresh(service_id)
        self._seen = chosen
        self._pipeline.unload_embedders({name for name in chosen.values() if name})
