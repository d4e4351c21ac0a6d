"""How much memory pictures may take while they are being decoded, all together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Lets work begin in the order it came, as long as its bytes fit beside those at work already.

    What needs no more than `free` bytes passes at once; what needs more than `total` waits until it
    is alone. So big pictures queue up, none starves, and small ones never wait for them.
    """

    def __init__(self, total: int, free: int) -> None:
        self._total = total
        self._free = free
        self._left = total
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """How many pieces of work wait for their turn."""
        return len(self._queue)

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Wait for the turn of `amount` bytes and hold them for the length of the block."""
        if amount <= self._free:
            yield
            return
        amount = min(amount, self._total)
        self._take(amount)
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()

    def _take(self, amount: int) -> None:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._left >= amount)
                self._left -= amount
            finally:
                # Also when the wait is interrupted: a ticket left behind would block the rest.
                self._queue.remove(ticket)
                self._changed.notify_all()
