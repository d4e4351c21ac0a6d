"""Rows of an index in chunks that never move, as readers and as the writer see them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from knownface.index.codes import Coded, step_of
from knownface.types import F32, I8, I64, Bools

if TYPE_CHECKING:
    from knownface.index.segments import Rows

BLOCK_ROWS: Final = 64  # rows whose best score is kept: the room for rows is a multiple of this


@dataclass(frozen=True, slots=True)
class View:
    """What readers see of a chunk: `used` rows of arrays [N, D] and [N], of which some are alive.

    `serial` tells the chunk from all others that the index ever had, `name` from those of other
    indexes; it has room for `rows`. `step`, `error` and `length` are those of its codes: see
    knownface.index.codes.
    """

    serial: int
    name: str
    level: int
    rows: int
    codes: I8
    keys: I64
    subjects: I64
    alive: Bools
    used: int
    step: float
    error: float
    length: float


class Chunk:
    """The writer's side of a chunk: room for a fixed number of rows of one level.

    One that is `mapped` is shared with other processes, in a file: see knownface.index.segments.
    """

    def __init__(self, serial: int, level: int, rows: int, dimension: int) -> None:
        padded = -(-rows // BLOCK_ROWS) * BLOCK_ROWS
        self.serial = serial
        self.level = level
        self.rows = rows
        self.used = 0
        self.gone = 0
        self.mapped = False
        self._name = secrets.token_hex(8)
        self._restored = False
        self._codes: I8 = np.zeros((padded, dimension), np.int8)
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

    def append(self, keys: I64, subjects: I64, coded: Coded) -> None:
        """Fill rows behind those that readers know of; there must be room."""
        if self._restored:  # another process may fill its copy otherwise
            self._name, self._restored = secrets.token_hex(8), False
        rows = slice(self.used, self.used + len(keys))
        self._codes[rows] = coded.codes
        self._finite[rows] = coded.finite
        self._keys[rows] = keys
        self._subjects[rows] = subjects
        self._held[rows] = True
        self._error = max(self._error, float(coded.errors.max()))
        self._length = max(self._length, float(coded.lengths.max()))
        self.used += len(keys)

    def restore(self, rows: Rows) -> None:
        """Fill an empty chunk with what another held; what is mapped stays where it is."""
        used = slice(0, rows.used)
        if rows.mapped:
            self._codes, self._keys, self._subjects = rows.codes, rows.keys, rows.subjects
            self.mapped = True
        else:
            self._codes[used] = rows.codes
            self._keys[used] = rows.keys
            self._subjects[used] = rows.subjects
        self._held[used] = self._finite[used] = rows.alive
        self._name, self._restored = rows.name, True
        self.used = rows.used
        self.gone = rows.used - int(np.count_nonzero(rows.alive))
        self._error, self._length = rows.error, rows.length

    @property
    def nbytes(self) -> int:
        """How much memory its rows take, without what lies in a file."""
        shared = self._codes[:1].nbytes + self._keys.itemsize + self._subjects.itemsize
        return self.used * (2 + (0 if self.mapped else shared))

    def bury(self, rows: I64) -> None:
        """Let views that are made from now on show these rows no more."""
        self._held[rows] = False
        self.gone += len(rows)

    def held(self, start: int = 0, stop: int | None = None) -> I64:
        """Return which rows, of a part of the chunk, are filled and were not removed."""
        return start + np.flatnonzero(self._held[start:stop])

    def keys(self, rows: I64) -> I64:
        return self._keys[rows]

    def take(self, rows: I64) -> tuple[I64, I64, Coded]:
        """Return keys, subjects and codes of these rows, as copies."""
        bounds = (np.full(len(rows), bound, np.float32) for bound in (self._error, self._length))
        coded = Coded(self._codes[rows], self._finite[rows], *bounds)
        return self._keys[rows], self._subjects[rows], coded

    def decoded(self, rows: I64) -> F32:
        """Return these rows, [N], as their codes tell them, [N, D]; zeros if not finite."""
        return self._codes[rows] * np.float32(self._step)

    def finite(self, rows: I64) -> Bools:
        return self._finite[rows]

    def overwrite(self, rows: I64) -> None:
        """Erase rows that no reader of this index looks at any more.

        Where they are mapped, a search in another process may: it began before it knew that these
        faces are deleted. What it reads then can only choose a key whose vector it will not find,
        and whoever finds that one is missing searches again.
        """
        self._codes[rows] = 0

    def view(self) -> View:
        return View(
            self.serial,
            self._name,
            self.level,
            self.rows,
            self._codes,
            self._keys,
            self._subjects,
            self._held & self._finite,
            self.used,
            self._step,
            self._error,
            self._length,
        )
