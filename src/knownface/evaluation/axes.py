"""Axes of charts: what range to show, where the ticks go, and what stands beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from knownface.evaluation.results import FloatArray

F64 = NDArray[np.float64]

_TICKS: Final = 7
_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Powers of ten outside of these are written as such.
_PLAIN: Final = range(-3, 5)


@dataclass(frozen=True, slots=True)
class Axis:
    """The shown range; `ticks` have labels, `lines` only a fine line.

    `least` is the smallest value a logarithmic axis can show: 0 is drawn there.
    """

    low: float
    high: float
    log: bool
    least: float
    ticks: tuple[tuple[float, str], ...]
    lines: tuple[float, ...] = ()

    def shares(self, values: FloatArray) -> F64:
        """Return where values lie, 0 at the low and 1 at the high end; outside of both beyond."""
        if not self.log:
            return np.asarray((values - self.low) / (self.high - self.low), np.float64)
        low, high = math.log10(self.low), math.log10(self.high)
        shown = np.log10(np.maximum(values, self.least))
        return np.asarray((shown - low) / (high - low), np.float64)


def axis(values: Iterable[FloatArray], *, log: bool = False) -> Axis:
    """Return an axis that shows all finite values, on a logarithmic one all above 0."""
    finite = [array[np.isfinite(array)] for array in values]
    shown = [array[array > 0] if log else array for array in finite]
    ends = [end for array in shown if array.size for end in (array.min(), array.max())]
    low, high = (float(min(ends)), float(max(ends))) if ends else (0.1 if log else 0.0, 1.0)
    return _logarithmic(low, high) if log else _linear(low, high)


def number(value: float) -> str:
    """Return a number as people write it: few digits, a real minus sign."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")


def _linear(low: float, high: float) -> Axis:
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        slack = abs(low) / 10 or 0.5
        low, high = low - slack, high + slack
    step = _nice((high - low) / _TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple((k * step, number(round(k * step, 12))) for k in range(first, last + 1))
    return Axis(first * step, last * step, log=False, least=-math.inf, ticks=ticks)


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next((f * power for f in (1, 2, 5) if f * power >= step * (1 - 1e-9)), 10 * power)


def _logarithmic(least: float, most: float) -> Axis:
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    grid = [(f, d, f * 10.0**d) for d in decades for f in range(1, 10)]
    low = max(value for f, _, value in grid if f in (1, 2, 5) and value <= least * (1 + 1e-9))
    high = min(value for f, _, value in grid if f in (1, 2, 5) and value >= most * (1 - 1e-9))
    if high <= low:
        low, high = low / 10, high * 10
        return _logarithmic(low, high)
    inside = [(f, d, value) for f, d, value in grid if low <= value <= high]
    labelled = (1,) if sum(f == 1 for f, _, _ in inside) > 2 else (1, 2, 5)
    ticks = tuple((value, _power(f, d)) for f, d, value in inside if f in labelled)
    lines = tuple(value for f, _, value in inside if f not in labelled)
    return Axis(low, high, log=True, least=least, ticks=ticks, lines=lines)


def _power(factor: int, exponent: int) -> str:
    if exponent in _PLAIN:
        return number(factor * 10.0**exponent)
    power = "10" + str(exponent).translate(_SUPERSCRIPTS)
    return power if factor == 1 else f"{factor}·{power}"
