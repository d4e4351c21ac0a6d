"""Work beside the requests of a running server, which several processes share.

What there is to do is written in the database: each process looks there for jobs that nobody
works on, and goes on looking whatever happens.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import Final
from uuid import uuid4

from knownface.errors import KnownfaceError

_POLL_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 30.0  # between two attempts while everything fails


class Background(ABC):
    """One process's share in the work; `start` begins it in a thread, `stop` ends it in order.

    Where `only` is given, jobs of other services are left to other processes.
    """

    def __init__(self, thread: str, log: logging.Logger, *, waits: str, failed: str) -> None:
        """`waits` is logged, with the reason, for an error of ours, `failed` for any other."""
        self.only: int | None = None
        self.stopping = threading.Event()  # set by `stop`
        self._name = str(uuid4())  # by which this process claims a job
        self._log = log
        self._waits = waits
        self._failed = failed
        self._thread = threading.Thread(target=self._live, name=thread, daemon=True)

    def start(self) -> None:
        """Begin to look for work; a second call does nothing."""
        if not self._thread.is_alive() and not self.stopping.is_set():
            self._thread.start()

    def stop(self) -> None:
        """Finish the piece at hand and leave the rest to whoever comes next."""
        self.stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @abstractmethod
    def turn(self) -> None:
        """Do all the work there is now."""

    def _mine(self, service_id: int, *, working: bool) -> bool:
        """Tell whether a job is one to begin with; `working` if another process is at it."""
        return self.only in (None, service_id) and not working and not self.stopping.is_set()

    def _live(self) -> None:
        pause = _POLL_SECONDS
        while not self.stopping.wait(pause):
            pause = min(2 * pause, _MOST_SECONDS)  # after a failure
            try:
                self.turn()
                pause = _POLL_SECONDS
            except KnownfaceError as error:
                self._log.warning(self._waits, extra={"reason": error.message})
            except BaseException:  # noqa: BLE001 - even SystemExit: nobody else would go on
                self._log.exception(self._failed)
