"""Numbers that the processes of one server count together, in memory that they share.

Each process counts on a page of its own, so that none waits for another, and whoever is asked reads
the pages of all. A process that takes the place of a dead one takes over its page and counts on
from there: nothing is lost that was counted, however a process ended.

A page is words of eight bytes: how many are in use, the process, and rows one after another. A row
is the sizes of its key and of its cells, the key as JSON, and the cells. The number of words in use
grows after a row was written: who reads meanwhile does not see it yet.
"""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections.abc import Iterator
from typing import Final, TypeAlias

import orjson

log = logging.getLogger(__name__)

Key = tuple[str, ...]
Cells: TypeAlias = "memoryview[float]"

# Some thousands of rows; of the memory only what is written to is ever taken.
PAGE_BYTES: Final = 1 << 20
_WORD: Final = 8
_USED, _PROCESS, _FIRST_ROW = 0, 1, 2
_CELLS: Final = (1 << 32) - 1  # the half of a word that holds their number


class Ledger:
    """The pages of all processes of a server; to be made before the first of them is forked."""

    def __init__(self, pages: int = 1, page_bytes: int = PAGE_BYTES) -> None:
        """Take memory of whole words, which ends with the last process that has it."""
        self._memory = memoryview(mmap.mmap(-1, pages * page_bytes))
        self._page_bytes = page_bytes
        self.pages = pages
        self.maker = os.getpid()

    def page(self, number: int = 0) -> Page:
        """Return the page of this process, with what was counted there by those before it."""
        return Page(self, self._words(number))

    def processes(self) -> list[int]:
        """Return the processes that count, those that have just died included."""
        numbers = (self._words(page)[_PROCESS] for page in range(self.pages))
        return [number for number in numbers if number]

    def rows(self) -> Iterator[tuple[Key, Cells]]:
        """Give every row of every page; one key may come from several of them."""
        for page in range(self.pages):
            yield from _rows(self._words(page))

    def _words(self, page: int) -> memoryview:
        first = page * self._page_bytes
        return self._memory[first : first + self._page_bytes].cast("Q")


class Page:
    """What one process counts; whoever changes cells holds the `lock`."""

    def __init__(self, ledger: Ledger, words: memoryview) -> None:
        self.ledger = ledger
        self.lock = threading.Lock()
        self._words = words
        self._known = dict(_rows(words))
        self._full = False
        words[_PROCESS] = os.getpid()
        words[_USED] = max(words[_USED], _FIRST_ROW)

    def row(self, key: Key, cells: int) -> Cells:
        """Return the cells of a key, zeros where it is new; the lock is held.

        What finds no room any more is counted where nobody looks, which is said once.
        """
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._append(orjson.dumps(key), cells)
        return found

    def rows(self, name: str) -> dict[Key, Cells]:
        """Return the rows of this page whose keys begin with a name, by the rest of their keys."""
        return {key[1:]: cells for key, cells in self._known.items() if key[0] == name}

    def _append(self, name: bytes, cells: int) -> Cells:
        name += b" " * (-len(name) % _WORD)
        start = self._words[_USED]
        key_end = start + 1 + len(name) // _WORD
        end = key_end + cells
        if end > len(self._words):
            if not self._full:
                self._full = True
                log.error("there is no room for more metrics: some are not counted")
            return memoryview(bytearray(_WORD * cells)).cast("d")
        self._words[start] = len(name) << 32 | cells
        self._words[start + 1 : key_end] = memoryview(name).cast("Q")
        self._words[_USED] = end
        return _doubles(self._words[key_end:end])


def _rows(words: memoryview) -> Iterator[tuple[Key, Cells]]:
    place, used = _FIRST_ROW, words[_USED]
    while place < used:
        key_end = place + 1 + (words[place] >> 32) // _WORD
        end = key_end + (words[place] & _CELLS)
        yield (
            tuple(orjson.loads(words[place + 1 : key_end].cast("B"))),
            _doubles(words[key_end:end]),
        )
        place = end


def _doubles(words: memoryview) -> Cells:
    return words.cast("B").cast("d")
