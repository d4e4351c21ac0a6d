"""What a search scans: the chunks of one state of an index, cut into pieces and blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from knownface.index.chunks import BLOCK_ROWS, View
from knownface.index.codes import Probe
from knownface.types import F64, I8, I32, I64


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of a chunk that are scanned at a time; a block is every `blocks`-th of them.

    `first` is the number of its first block in the whole scan.
    """

    view: View
    start: int
    blocks: int
    first: int

    @property
    def stop(self) -> int:
        return self.start + self.blocks * BLOCK_ROWS

    @property
    def rows(self) -> slice:
        """Where its rows are among all that are scanned."""
        return slice(self.first * BLOCK_ROWS, (self.first + self.blocks) * BLOCK_ROWS)

    def rows_of(self, blocks: I64) -> I64:
        """Return the living rows of these blocks, by their numbers in the whole scan."""
        offsets = np.arange(self.start, self.stop, self.blocks)
        rows: I64 = ((blocks - self.first)[:, None] + offsets).ravel()
        return rows[self.view.alive[rows]]


class Seen(NamedTuple):
    """Rows that are looked into: codes [N, D], keys, subjects and pieces that they are of, [N]."""

    codes: I8
    keys: I64
    subjects: I64
    owners: I64

    def part(self, rows: I64) -> Seen:
        return Seen(self.codes[rows], self.keys[rows], self.subjects[rows], self.owners[rows])


class Plan:
    """All filled rows in pieces of at most so many, and what each piece's codes are like."""

    def __init__(self, views: tuple[View, ...], rows: int) -> None:
        self.pieces: list[_Piece] = []
        first = 0
        for view in views:
            blocks = -(-view.used // BLOCK_ROWS)
            for start in range(0, blocks, rows // BLOCK_ROWS):
                count = min(rows // BLOCK_ROWS, blocks - start)
                self.pieces.append(_Piece(view, start * BLOCK_ROWS, count, first))
                first += count
        self.owners = np.repeat(range(len(self.pieces)), [piece.blocks for piece in self.pieces])
        self._steps = np.array([piece.view.step for piece in self.pieces])
        self._errors = np.array([piece.view.error for piece in self.pieces])
        self._lengths = np.array([piece.view.length for piece in self.pieces])

    def rows_of(self, blocks: I64) -> Seen:
        """Return the living rows of some blocks, by their numbers in the whole scan."""
        owners = self.owners[blocks]
        seen = []
        for owner in set(owners.tolist()):
            view, rows = (
                self.pieces[owner].view,
                self.pieces[owner].rows_of(blocks[owners == owner]),
            )
            seen.append(
                Seen(
                    view.codes[rows],
                    view.keys[rows],
                    view.subjects[rows],
                    np.full(len(rows), owner),
                )
            )
        return seen[0] if len(seen) == 1 else Seen(*map(np.concatenate, zip(*seen, strict=True)))

    @cached_property
    def everybody(self) -> tuple[I64, I64, I64]:
        """The keys and the subjects of all filled rows, and which of these are not alive."""
        parts = [(p.view.keys, p.view.subjects, p.view.alive) for p in self.pieces]
        rows = [slice(piece.start, piece.stop) for piece in self.pieces]
        keys, subjects, alive = (
            np.concatenate([column[some] for column, some in zip(columns, rows, strict=True)])
            for columns in zip(*parts, strict=True)
        )
        return keys, subjects, np.flatnonzero(~alive)

    def products(self, probe: Probe) -> I32:
        """Return the products of all filled rows with each query, [rows, width]."""
        found = np.empty((len(self.owners) * BLOCK_ROWS, probe.width), np.int32)
        room = probe.room(max((piece.blocks for piece in self.pieces), default=0) * BLOCK_ROWS)
        for piece in self.pieces:
            codes = piece.view.codes[piece.start : piece.stop]
            found[piece.rows] = probe.products(codes, room)
        return found

    def cosines(self, products: I32, probe: Probe, number: int) -> tuple[F64, F64]:
        """Return a lower and an upper bound of a query's cosine with each filled row."""
        middle = np.empty(len(products))
        error = np.empty_like(middle)
        for piece, scale, bound in zip(self.pieces, *self.bounds(probe, number), strict=True):
            np.multiply(products[piece.rows, number], scale, out=middle[piece.rows])
            error[piece.rows] = bound
        upper = middle + error
        middle -= error
        return middle, upper

    def bounds(self, probe: Probe, number: int) -> tuple[F64, F64]:
        """Return scale and error, see Probe, of a query's products with each piece's rows."""
        return probe.bounds(number, self._steps, self._errors, self._lengths)

    def like(self, owners: I64) -> tuple[F64, F64]:
        """Return steps and errors of pieces, by their numbers."""
        return self._steps[owners], self._errors[owners]


class _Held(tuple[View, ...]):
    """Views whose rows are not overwritten yet, for that waits for the end of a snapshot."""

    of: Snapshot


class Snapshot:
    """One state of the index; `successor` is the next one, set once it is published."""

    __slots__ = ("__weakref__", "_plans", "successor", "views")

    def __init__(self, views: tuple[View, ...]) -> None:
        self.views = views
        self.successor: Snapshot | None = None
        self._plans: dict[int, Plan] = {}

    def held(self) -> tuple[View, ...]:
        """Return the views such that whoever holds them holds this, as a running search does."""
        views = _Held(self.views)
        views.of = self
        return views

    def plan(self, rows: int) -> Plan:
        """Return the plan of a scan by pieces of at most so many rows."""
        plan = self._plans.get(rows)
        if plan is None:  # two searches may make it at a time: both are right
            plan = self._plans[rows] = Plan(self.views, rows)
        return plan
