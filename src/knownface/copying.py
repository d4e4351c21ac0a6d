"""Clones of services, made beside the requests of a running server.

Each process looks for copies that were asked for; whichever claims one moves it on piece by piece,
each in a transaction of its own, so that a process that is killed costs no more than one piece, and
writers to the database wait for no more than one.
"""

from __future__ import annotations

import logging
import threading
from typing import Final
from uuid import uuid4

from knownface.errors import KnownfaceError, ServiceNotFound
from knownface.store import Store
from knownface.types import Copying

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 30.0  # between two attempts while everything fails
_PAUSE_SECONDS: Final = 0.01  # after each piece, for those who wait to write
_EXAMPLES: Final = 200  # in one piece
_BYTES: Final = 8 << 20  # of photographs in one piece


class Copier:
    """One process's share in the work; `start` begins it in a thread, `stop` ends it in order.

    Where `only` is given, other copies are left to other processes.
    """

    def __init__(
        self, store: Store, *, examples: int = _EXAMPLES, most_bytes: int = _BYTES
    ) -> None:
        self.only: int | None = None
        self._store = store
        self._examples = examples
        self._most_bytes = most_bytes
        self._name = str(uuid4())
        self.stopping = threading.Event()  # set by `stop`
        self._thread = threading.Thread(target=self._live, name="copy", daemon=True)

    def start(self) -> None:
        """Begin to look for work; a second call does nothing."""
        if not self._thread.is_alive() and not self.stopping.is_set():
            self._thread.start()

    def stop(self) -> None:
        """Finish the piece at hand and leave the rest to whoever comes next."""
        self.stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def turn(self) -> None:
        """Do all the work there is now."""
        with self._store.snapshot() as tx:
            jobs = tx.open_copies()
        for job in jobs:
            mine = self.only in (None, job.target_id) and not job.working
            if mine and not self.stopping.is_set():
                self._attempt(job)

    def _live(self) -> None:
        pause = _POLL_SECONDS
        while not self.stopping.wait(pause):
            pause = min(2 * pause, _MOST_SECONDS)  # after a failure
            try:
                self.turn()
                pause = _POLL_SECONDS
            except KnownfaceError as error:
                log.warning("copies of services wait", extra={"reason": error.message})
            except BaseException:  # even SystemExit: nobody else would go on
                log.exception("a copy of a service failed and is tried again")

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
