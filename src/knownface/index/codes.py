"""Vectors as codes of eight bits, and how far a product of codes may lie from a cosine.

A vector v is kept as v' = step * code and the error v - v', whose length is measured when the
code is made. For a query q with code q' the inequality of Cauchy and Schwarz gives

    |q.v - q'.v'|  <=  |q.(v - v')| + |(q - q').v'|  <=  |q| |v - v'| + |q - q'| |v'|

which holds for any vectors: so a row that cannot reach a place is known, not guessed, to be out.
Codes that are compared need one step: rows whose largest numbers are alike form a level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numkong
import numpy as np

from knownface.types import F32, F64, I8, I32, I64, Bools

LEVELS = 17  # half octaves, from numbers as large as 1 down
_TOP = 127
_GROUP = 4  # the kernel works on four queries at a time, at the price of one
# One query among rows as long as this is multiplied faster without being packed.
_LONG = 320


def levels(vectors: F32) -> I64:
    """Return the level of each row of [N, D]: the finest whose codes can hold its numbers."""
    largest = np.abs(vectors).max(axis=1, initial=0.0).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.floor(-2.0 * np.log2(largest))
    clipped: I64 = np.nan_to_num(found, nan=0.0).clip(0, LEVELS - 1).astype(np.int64)
    return clipped


def step_of(level: int) -> float:
    """Return what a code of 1 stands for."""
    return float(2.0 ** (-level / 2) / _TOP)


@dataclass(frozen=True, slots=True)
class Coded:
    """Rows as codes [N, D], and bounds of each row's error and of its length when decoded, [N].

    A row that is not `finite`, [N], has a code of zeros.
    """

    codes: I8
    finite: Bools
    errors: F32
    lengths: F32

    def part(self, rows: slice) -> Coded:
        """Return some of the rows."""
        return Coded(self.codes[rows], self.finite[rows], self.errors[rows], self.lengths[rows])


def encode(vectors: F32, step: float | F32) -> Coded:
    """Encode rows [N, D] with a step, or with one for each row, [N, 1]."""
    finite: Bools = np.logical_and.reduce(np.isfinite(vectors), axis=1)
    if not finite.all():
        vectors = np.where(finite[:, None], vectors, np.float32(0.0))
    codes = np.rint(vectors / np.float32(step)).clip(-_TOP, _TOP)
    decoded = codes * np.float32(step)
    return Coded(codes.astype(np.int8), finite, _lengths(vectors - decoded), _lengths(decoded))


def _lengths(rows: F32) -> F32:
    """Return upper bounds, [N], for the lengths of rows [N, D] that were computed in float32."""
    squares: F32 = np.einsum("ij,ij->i", rows, rows)
    return np.sqrt(squares) * np.float32(1.0 + 1e-5) + np.float32(1e-6)


class Probe:
    """Queries, [Q, D] and finite, as codes that are compared with all rows in one pass."""

    def __init__(self, queries: F32) -> None:
        count, dimension = queries.shape
        self._queries = queries
        largest = np.abs(queries).max(axis=1, keepdims=True, initial=1e-30)
        self._steps: F32 = largest / np.float32(_TOP)
        coded = encode(queries, self._steps)
        self._errors = coded.errors
        self._lengths = _lengths(queries)
        # Rounding of float32 arithmetic on the way, and units that are units within rounding.
        self._margin = (dimension + 8) * float(np.finfo(np.float32).eps)
        self._alone = count == 1 and dimension >= _LONG
        self.width = 1 if self._alone else -(-count // _GROUP) * _GROUP
        self._codes = np.zeros((self.width, dimension), np.int8)
        self._codes[:count] = coded.codes
        self._packed = numkong.dots_pack(self._codes)

    def bounds(self, query: int, steps: F64, errors: F64, lengths: F64) -> tuple[F64, F64]:
        """Return what makes cosines of products with rows of these properties, and their errors.

        The cosine of a row is within `error` of `product * scale`.
        """
        error = self._lengths[query] * errors + self._errors[query] * lengths + self._margin
        return self._steps[query] * steps, error

    def close(self, query: int, codes: I8, steps: F64, errors: F64) -> tuple[F64, F64]:
        """Return the cosines with rows, [N, D], of a query as it is, and by how much they are off.

        That is half of what the products are off, for more work: nothing to do with all rows.
        """
        # Not `@`: for many rows its library would start threads, which then spin on other cores.
        rows = codes.astype(np.float32)
        found = np.einsum("ij,j->i", rows, self._queries[query]) * steps
        return found, self._lengths[query] * errors + self._margin

    def products(self, codes: I8, room: numkong.Tensor) -> I32:
        """Return the products, [N, width], with codes [N, D]; `room` has room for them.

        The columns past the number of queries are zero.
        """
        if self._alone:
            return self.products_with(0, codes)[:, None]
        part = cast("numkong.Tensor", room[: len(codes)])
        return np.asarray(numkong.dots_packed(codes, self._packed, out=part))

    def products_with(self, query: int, codes: I8) -> I32:
        """Return the products, [N], of one query with codes [N, D]."""
        products = np.empty(len(codes), np.int32)
        if len(codes):
            numkong.dot(
                codes,
                self._codes[query],
                out=products,
                out_dtype="int32",  # type: ignore[arg-type]  # its stubs forget the integers
            )
        return products

    def room(self, rows: int) -> numkong.Tensor:
        """Return memory for the products with so many rows."""
        return numkong.empty((rows, self.width), dtype="int32")
