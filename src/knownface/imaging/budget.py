"""How much memory pictures may take while they are being decoded, all together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Lets work begin in the order it came, as long as its bytes fit beside those at work already.

    What needs no more than `free` bytes passes at once; what needs more than `total` waits until it
    is alone. So big pictures queue up, none starves, and small ones never wait for them. Whenever
    counted work has ended, `give_back` is called before the next may begin.
    """

    def __init__(self, total: int, free: int, give_back: Callable[[], None]) -> None:
        self._total = total
        self._free = free
        self._give_back = give_back
        self._left = total
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

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
            self._give_back()
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
