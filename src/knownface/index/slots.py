"""Where each key's row lies: a hash table of columns, in a fifth of the memory of a dict."""

from __future__ import annotations

import numpy as np

from knownface.types import I32, I64

_FREE = -1  # never used since the table was laid out: a search for a key ends here
_GONE = -2  # used and given up: a search for a key goes on
_SMALLEST = 64
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # spreads the even numbers that a database hands out


class Slots:
    """A map from int64 keys to slots from 0 to 2**31 - 1; for one thread at a time."""

    def __init__(self) -> None:
        self._lay_out(_SMALLEST)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Return how much memory the table takes."""
        return self._keys.nbytes + self._slots.nbytes

    def find(self, keys: I64) -> I64:
        """Return the slots of these keys, [N], -1 for those that are unknown."""
        return self._slots_at(self._places(keys))

    def put(self, keys: I64, slots: I64) -> None:
        """Note the slots of these keys, [N] and [N], each key once."""
        if 3 * (self._filled + len(keys)) > 2 * len(self._keys):
            self._rehash(len(keys))
        places = self._places(keys)
        known = places >= 0
        self._slots[places[known]] = slots[known]
        self._insert(keys[~known], slots[~known])

    def pop(self, keys: I64) -> I64:
        """Forget these keys, [N], each given once, and return what `find` would have."""
        places = self._places(keys)
        slots = self._slots_at(places)
        known = places[places >= 0]
        self._slots[known] = _GONE
        self._count -= len(known)
        if 8 * self._count < len(self._keys) > _SMALLEST:
            self._rehash(0)
        return slots

    def _slots_at(self, places: I64) -> I64:
        return np.where(places >= 0, self._slots[places], -1).astype(np.int64)

    def _lay_out(self, size: int) -> None:
        self._keys: I64 = np.zeros(size, np.int64)
        self._slots: I32 = np.full(size, _FREE, np.int32)
        self._shift = np.uint64(65 - size.bit_length())
        self._filled = 0  # places that are not free

    def _rehash(self, more: int) -> None:
        """Lay the table out anew for its keys and some more, at most half full."""
        living = np.flatnonzero(self._slots >= 0)
        keys, slots = self._keys[living], self._slots[living].astype(np.int64)
        size = max(_SMALLEST, 1 << (2 * (len(keys) + more) - 1).bit_length())
        self._lay_out(size)
        self._count = 0
        self._insert(keys, slots)

    def _homes(self, keys: I64) -> I64:
        return ((keys.view(np.uint64) * _GOLDEN) >> self._shift).view(np.int64)

    def _places(self, keys: I64) -> I64:
        """Return where in the table these keys are, -1 for those that are not."""
        found = np.full(len(keys), -1, np.int64)
        keys = np.ascontiguousarray(keys, np.int64)
        wanted = np.arange(len(keys))
        places = self._homes(keys)
        last = len(self._keys) - 1
        while len(wanted):
            slots = self._slots[places]
            hit = (self._keys[places] == keys) & (slots >= 0)
            found[wanted[hit]] = places[hit]
            onward = ~hit & (slots != _FREE)
            wanted, keys, places = wanted[onward], keys[onward], (places[onward] + 1) & last
        return found

    def _insert(self, keys: I64, slots: I64) -> None:
        """Enter keys that are not in the table, which has room for them."""
        self._count += len(keys)
        keys = np.ascontiguousarray(keys, np.int64)
        places = self._homes(keys)
        last = len(self._keys) - 1
        while len(keys):
            free = self._slots[places] == _FREE
            claimed = places[free]
            self._keys[claimed] = keys[free]  # of several keys that claim a place one gets it
            won = free & (self._keys[places] == keys)
            self._slots[places[won]] = slots[won]
            self._filled += int(np.count_nonzero(won))
            keys, slots, places = keys[~won], slots[~won], (places[~won] + 1) & last
