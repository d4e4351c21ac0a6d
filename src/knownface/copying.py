"""Clones of services, made beside the requests of a running server.

Each process looks for copies that were asked for; whichever claims one moves it on piece by piece,
each in a transaction of its own, so that a process that is killed costs no more than one piece, and
writers to the database wait for no more than one.
"""

from __future__ import annotations

import logging
from typing import Final

from knownface.background import Background
from knownface.errors import ServiceNotFound
from knownface.store import Store
from knownface.types import Copying

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.01  # after each piece, for those who wait to write
_EXAMPLES: Final = 200  # in one piece
_BYTES: Final = 8 << 20  # of photographs in one piece


class Copier(Background):
    """One process's share in the copies; `only` means the service that is the copy."""

    def __init__(
        self, store: Store, *, examples: int = _EXAMPLES, most_bytes: int = _BYTES
    ) -> None:
        super().__init__(
            "copy",
            log,
            waits="copies of services wait",
            failed="a copy of a service failed and is tried again",
        )
        self._store = store
        self._examples = examples
        self._most_bytes = most_bytes

    def turn(self) -> None:
        """Do all the work there is now."""
        with self._store.snapshot() as tx:
            jobs = tx.open_copies()
        for job in jobs:
            if self._mine(job.target_id, working=job.working):
                self._attempt(job)

    def _attempt(self, job: Copying) -> None:
        with self._store.begin() as tx:
            if not tx.claim_copy(job.target_id, self._name):
                return
        about = {"service": job.target_id, "source": job.source_id}
        log.info("copying a service", extra=about | {"done": job.done, "total": job.total})
        try:
            while self._piece(job) and not self.stopping.wait(_PAUSE_SECONDS):
                pass
            if not self.stopping.is_set():
                log.info("a copy of a service has ended", extra=about)
        except ServiceNotFound:
            log.info("a copy of a service was deleted while it was made", extra=about)
        finally:
            with self._store.begin() as tx:
                tx.release_copy(job.target_id, self._name)

    def _piece(self, job: Copying) -> bool:
        with self._store.begin() as tx:
            return tx.copy_some(
                job.target_id, self._name, most=self._examples, most_bytes=self._most_bytes
            )
