"""Rows of an index in chunks that never move, as readers and as the writer see them."""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

import numpy as np

from knownface.index.codes import encode, step_of
from knownface.types import F32, I8, I64, Bools

if TYPE_CHECKING:
    from knownface.index.segments import Rows

log = logging.getLogger(__name__)

BLOCK_ROWS: Final = 64  # rows whose best score is kept: the room for rows is a multiple of this
_ENCODED_ROWS: Final = 2048  # encoded at a time, so that all steps of it stay within the cache

Rooms = Callable[[int, int], F32]


def in_memory(rows: int, dimension: int) -> F32:
    """Return room for vectors; untouched zeros cost no memory, so a small index takes little."""
    return np.zeros((rows, dimension), np.float32)


def in_file(folder: Path) -> Rooms:
    """Return what makes rooms that lie in files without a name, which end with their rooms."""

    def room(rows: int, dimension: int) -> F32:
        size = rows * dimension * np.float32().nbytes
        try:
            with TemporaryFile(dir=folder) as file:
                file.truncate(size)
                # A full disk must be an error here, not a signal in the middle of a write later.
                with suppress(AttributeError):  # where the system has no such call
                    os.posix_fallocate(file.fileno(), 0, size)
                mapping = mmap.mmap(file.fileno(), size)
        except OSError as error:
            log.warning("vectors stay in memory: no room for them in %s: %s", folder, error)
            return in_memory(rows, dimension)
        with suppress(AttributeError, OSError):  # a hint, which not every system takes
            mapping.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(mapping, np.float32).reshape(rows, dimension)

    return room


@dataclass(frozen=True, slots=True)
class View:
    """What readers see of a chunk: `used` rows of arrays [N, D] and [N], of which some are alive.

    `serial` tells the chunk from all others that the index ever had; it has room for `rows`.
    `step`, `error` and `length` are those of its codes: see knownface.index.codes.
    """

    serial: int
    level: int
    rows: int
    codes: I8
    vectors: F32
    keys: I64
    subjects: I64
    alive: Bools
    used: int
    step: float
    error: float
    length: float


class Chunk:
    """The writer's side of a chunk: room for a fixed number of rows of one level."""

    def __init__(self, serial: int, level: int, rows: int, dimension: int, room: Rooms) -> None:
        padded = -(-rows // BLOCK_ROWS) * BLOCK_ROWS
        self.serial = serial
        self.level = level
        self.rows = rows
        self.used = 0
        self.gone = 0
        self._codes: I8 = np.zeros((padded, dimension), np.int8)
        self._codes_in_file: I8 | None = None
        self._vectors = room(padded, dimension)
        self._keys: I64 = np.zeros(padded, np.int64)
        self._subjects: I64 = np.zeros(padded, np.int64)
        self._held: Bools = np.zeros(padded, np.bool_)  # filled and not removed
        self._finite: Bools = np.zeros(padded, np.bool_)
        self._step = step_of(level)
        self._error = 0.0
        self._length = 0.0

    @property
    def free(self) -> int:
        return self.rows - self.used

    @property
    def mostly_gone(self) -> bool:
        return self.gone == self.used or 2 * self.gone > self.rows

    def append(self, keys: I64, subjects: I64, vectors: F32) -> None:
        """Fill rows behind those that readers know of; there must be room."""
        for start in range(0, len(keys), _ENCODED_ROWS):
            block = slice(start, start + _ENCODED_ROWS)
            rows = slice(self.used + start, self.used + start + len(keys[block]))
            coded = encode(vectors[block], self._step)
            self._codes[rows] = coded.codes
            self._vectors[rows] = vectors[block]
            self._finite[rows] = coded.finite
            self._error = max(self._error, float(coded.errors.max()))
            self._length = max(self._length, float(coded.lengths.max()))
        rows = slice(self.used, self.used + len(keys))
        self._keys[rows] = keys
        self._subjects[rows] = subjects
        self._held[rows] = True
        self.used += len(keys)

    def restore(self, rows: Rows) -> None:
        """Fill an empty chunk with what another held; vectors that are mapped are there already."""
        used = slice(0, rows.used)
        self._codes[used] = rows.codes
        if rows.mapped:
            self._codes_in_file = rows.codes
        else:
            self._vectors[used] = rows.vectors
        self._keys[used] = rows.keys
        self._subjects[used] = rows.subjects
        self._held[used] = self._finite[used] = rows.alive
        self.used = rows.used
        self.gone = rows.used - int(np.count_nonzero(rows.alive))
        self._error, self._length = rows.error, rows.length

    @property
    def nbytes(self) -> int:
        """How much memory its rows take, without vectors that lie in a file."""
        row = self._codes[:1].nbytes + self._keys.itemsize + self._subjects.itemsize + 2
        if self._vectors.base is None:
            row += self._vectors[:1].nbytes
        return self.used * row

    def bury(self, rows: I64) -> None:
        """Let views that are made from now on show these rows no more."""
        self._held[rows] = False
        self.gone += len(rows)

    def held(self, start: int = 0, stop: int | None = None) -> I64:
        """Return which rows, of a part of the chunk, are filled and were not removed."""
        return start + np.flatnonzero(self._held[start:stop])

    def take(self, rows: I64) -> tuple[I64, I64, F32]:
        """Return keys, subjects and vectors of these rows, as copies."""
        return self._keys[rows], self._subjects[rows], self._vectors[rows]

    def overwrite(self, rows: I64) -> None:
        """Erase rows that no reader looks at any more."""
        self._codes[rows] = 0
        self._vectors[rows] = 0.0
        if self._codes_in_file is not None:
            self._codes_in_file[rows] = 0

    def view(self) -> View:
        return View(
            self.serial,
            self.level,
            self.rows,
            self._codes,
            self._vectors,
            self._keys,
            self._subjects,
            self._held & self._finite,
            self.used,
            self._step,
            self._error,
            self._length,
        )
