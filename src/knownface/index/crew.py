"""Threads that help with a long search, if they are free."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

# A scan is bound by the memory, which a few cores keep busy.
_MOST: Final = 8


def cores() -> int:
    """Return how many threads a long search is shared by, unless somebody says otherwise."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST)
    return min(os.cpu_count() or 1, _MOST)  # pragma: no cover - macOS and Windows


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
