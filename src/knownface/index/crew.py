"""Threads that help with a long search, if they are free."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

# A scan is bound by the memory, which a few cores keep busy.
_MOST: Final = 8
_HUMBLE: Final = 10  # niceness: a tenth of the time of a core that others want, all of a free one


def cores() -> int:
    """Return how many threads a long search is shared by, unless somebody says otherwise."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST)
    return min(os.cpu_count() or 1, _MOST)  # pragma: no cover - macOS and Windows


def yielding(work: Callable[[], None]) -> None:
    """Run work, and threads that it starts, where the system lets all other threads go first."""

    def humbly() -> None:
        if sys.platform == "linux":  # elsewhere a priority is the whole program's
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _HUMBLE)
        work()

    with ThreadPoolExecutor(1, "knownface-yielding") as alone:
        alone.submit(humbly).result()


class Crew:
    """A few threads; whoever calls does the work and does not wait for helpers that are busy."""

    def __init__(self, threads: int) -> None:
        self._helpers = threads - 1
        self._pool = ThreadPoolExecutor(max(1, self._helpers), "knownface-search")

    def share(self, work: Callable[[], None]) -> None:
        """Run `work`, which takes pieces until none is left, here and in whoever is free.

        Returns when all pieces are done; a helper that has not begun by then never does.
        """
        helpers = [self._pool.submit(work) for _ in range(self._helpers)]
        try:
            work()
        finally:
            for helper in helpers:
                if not helper.cancel():
                    helper.result()
