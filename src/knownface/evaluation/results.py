"""What a measurement says, in a form that a terminal, a JSON file and a report can all show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Problem:
    """A row or a picture that was left out, and why; `line` is 0 where it has none."""

    file: str
    line: int
    reason: str

    def __post_init__(self) -> None:
        # A file's name may be bytes that are no text, which nothing could print or write.
        for name in ("file", "reason"):
            text = getattr(self, name).encode("utf-8", "replace").decode("utf-8")
            object.__setattr__(self, name, text)

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Lines through points: each series is (name, x, y)."""

    title: str
    x_label: str
    y_label: str
    series: tuple[tuple[str, FloatArray, FloatArray], ...]
    log_x: bool = False
    log_y: bool = False
    diagonal: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How values are distributed: each series is (name, values); `marker` is a threshold."""

    title: str
    x_label: str
    series: tuple[tuple[str, FloatArray], ...]
    marker: float | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """A confusion matrix: a row for each label, a column for each answer."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """Points, by default against the line on which label and answer are equal."""

    title: str
    x_label: str
    y_label: str
    x: FloatArray
    y: FloatArray
    diagonal: bool = True


Chart = Curve | Histogram | Matrix | Scatter


@dataclass(frozen=True, slots=True)
class Mistake:
    """One of the worst answers: JPEG thumbnails and what was wrong with it."""

    caption: str
    pictures: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for a person to read; the first table of an evaluation holds its headline figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One measurement: `figures` is what `--json` writes, the rest what people look at.

    `mistakes` come worst first. Nothing that was left out is left out of `problems`.
    """

    kind: str
    figures: Mapping[str, object]
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    problems: tuple[Problem, ...] = ()
