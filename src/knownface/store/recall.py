"""What a store has said, known for as long as nothing is committed to its database by anybody.

A request in a quiet moment asks what the last one asked. To look whether anything was committed is
far cheaper than to ask again, and leaves read-your-writes as it is: whoever was told that something
is stored, in whatever process, finds another state of the database, and what was known is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from knownface.store.store import Store

T = TypeVar("T")


class Recall(Generic[T]):
    """Something to fill with what is read of one state of a database; thrown away with that."""

    def __init__(self, store: Store, make: Callable[[], T]) -> None:
        """`make` returns an empty one; what it returns has to be safe to use from many threads."""
        self._store = store
        self._make = make
        self._lock = threading.Lock()
        self._state: object = None
        self._filled = make()

    def current(self) -> T:
        """Return what is filled already with what holds now; to be filled with what is read later.

        What is read after this call and put into it is given to others only while it holds. It is
        an empty one whenever the database cannot tell in what state it is.
        """
        with self._lock:
            # Within the lock: who looked earlier must not come later and bring the old back.
            state = self._store.state()
            if state is None or state != self._state:
                self._state, self._filled = state, self._make()
            return self._filled

    def at_once(self) -> T | None:
        """Do the same where nobody has to be waited for, else return None."""
        if not self._store.tells_state_at_once or not self._lock.acquire(blocking=False):
            return None
        self._lock.release()
        return self.current()

    def forget(self) -> None:
        """Drop everything."""
        with self._lock:
            self._state, self._filled = None, self._make()
