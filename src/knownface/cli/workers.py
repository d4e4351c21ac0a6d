"""Several processes that serve on one listener, and the one that watches over them.

The first worker starts alone: it migrates the database and fetches the models, and what forbids the
start is said once. Then the others start. When all are ready one of them greets. A worker that dies
is replaced; when the watcher is told to stop, or dies, all of them stop in order.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final

from knownface.cli.run import Failure
from knownface.errors import ConfigurationError, KnownfaceError

log = logging.getLogger(__name__)

_READY: Final = b"r"
_GREET: Final = b"g"
_GREETED: Final = b"d"
_TO_STOP: Final = (signal.SIGTERM, signal.SIGINT)
_LONGEST_PAUSE: Final = 30.0  # between two attempts to replace a worker that does not come up
_LOOK_SECONDS: Final = 0.2  # between two looks at who has died


class Link:
    """A worker's line to the watcher, and its number: who replaces a worker has that one's."""

    def __init__(self, number: int, line: socket.socket) -> None:
        self.number = number
        self._line = line

    def ready(self, greet: Callable[[], None]) -> None:
        """Say that requests are served; greet if this worker is told to, stop with the watcher."""
        self._line.sendall(_READY)
        threading.Thread(target=self._listen, args=(greet,), name="link", daemon=True).start()

    def _listen(self, greet: Callable[[], None]) -> None:
        with suppress(OSError):
            while said := self._line.recv(1):
                if said == _GREET:
                    greet()
                    self._line.sendall(_GREETED)
        os.kill(os.getpid(), signal.SIGTERM)  # the watcher is gone


@dataclass(eq=False)
class _Worker:
    """A process, the watcher's end of its line, and what is known of it."""

    pid: int
    number: int
    line: socket.socket
    ready: bool = False


class Workers:
    """A number of processes that do the same work; to be made while there is one thread."""

    def __init__(
        self, count: int, work: Callable[[Link], None], *, on_stop: Callable[[], None]
    ) -> None:
        """`work` serves until SIGTERM and calls `ready` of its link once; SystemExit ends it.

        `on_stop` is called in this process when all are told to stop.
        """
        if not hasattr(os, "fork"):
            raise ConfigurationError(
                "This system cannot run several workers: leave KNOWNFACE_WORKERS at 1."
            )
        self._count = count
        self._work = work
        self._on_stop = on_stop
        self._alive: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._stopping: int | None = None  # the signal that says so
        self._came_up = False  # once all were ready
        self._greeting: int | None = None  # the worker that was told to greet
        self._greeted = False
        self._pause = 0.0
        self._next_start = 0.0

    def run(self) -> int:
        """Keep the workers alive until SIGTERM or Ctrl-C; return the status to end with.

        It is the first worker's where that cannot start.
        """
        for number in _TO_STOP:
            signal.signal(number, self._stop)
        while self._alive or not self._stopping:
            if not self._stopping:
                self._start_missing()
            self._hear()
            status = self._bury()
            if status is not None:
                return status
        return 0 if self._came_up else 128 + self._stopping

    def _start_missing(self) -> None:
        """Start what is missing: the first alone, and what failed after a pause."""
        alone = not self._came_up and not any(one.ready for one in self._alive.values())
        wanted = 1 if alone else self._count
        while len(self._alive) < wanted and time.monotonic() >= self._next_start:
            self._start()

    def _start(self) -> None:
        number = min(set(range(self._count)) - {one.number for one in self._alive.values()})
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal to stop waits until it is clear who is to be stopped.
        signal.pthread_sigmask(signal.SIG_BLOCK, _TO_STOP)
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_worker(Link(number, theirs))
        theirs.close()
        self._alive[pid] = _Worker(pid, number, ours)
        self._selector.register(ours, selectors.EVENT_READ, self._alive[pid])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_STOP)

    def _become_worker(self, link: Link) -> None:
        """Work, and end this process without returning into what the watcher was doing."""
        status = 1
        try:
            # Ctrl-C reaches all processes of a terminal's group: it is the watcher's to pass on.
            os.setpgid(0, 0)
            self._selector.close()
            for sibling in self._alive.values():
                sibling.line.close()
            for number in _TO_STOP:
                signal.signal(number, _end)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_STOP)
            self._work(link)
            status = 0
        except KnownfaceError as error:
            failure = Failure(error.message)
            failure.show()
            status = failure.exit_code
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:  # noqa: BLE001 - there is nobody above to tell
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _hear(self) -> None:
        """Take what workers say, for some time at most."""
        for key, _ in self._selector.select(_LOOK_SECONDS):
            worker: _Worker = key.data
            said = b""
            with suppress(OSError):
                said = worker.line.recv(1)
            if said == _READY:
                worker.ready = True
                self._pause = 0.0
            elif said == _GREETED:
                self._greeted = True
            elif not said:
                self._selector.unregister(worker.line)
        ready = [one for one in self._alive.values() if one.ready]
        self._came_up = self._came_up or len(ready) == self._count
        if self._came_up and not self._greeted and ready and self._greeting not in self._alive:
            self._greeting = ready[0].pid
            with suppress(OSError):
                ready[0].line.sendall(_GREET)

    def _bury(self) -> int | None:
        """Take note of who has died; return the status to end with if the start has failed."""
        while self._alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return None
            worker = self._alive.pop(pid, None)
            if worker is None:
                continue
            with suppress(KeyError, ValueError):
                self._selector.unregister(worker.line)
            worker.line.close()
            code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                continue
            if not worker.ready:
                if not self._came_up and not self._alive:
                    return code if code > 0 else 1
                self._pause = min(2 * self._pause or 1.0, _LONGEST_PAUSE)
                self._next_start = time.monotonic() + self._pause
            log.error(
                "a worker has ended and is replaced",
                extra={"worker": pid, "status": code, "ready": worker.ready},
            )
        return None

    def _stop(self, number: int, _: FrameType | None) -> None:
        """Let every worker stop in order; asked twice by Ctrl-C, they stop at once."""
        forward = number if self._stopping else signal.SIGTERM
        if not self._stopping:
            self._stopping = number
            self._on_stop()
        for pid in list(self._alive):
            with suppress(ProcessLookupError):
                os.kill(pid, forward)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
