"""Pictures of which a table says what they show: what all measurements of attributes share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from knownface.errors import InvalidRequest
from knownface.evaluation.judging import UNREADABLE, Judge
from knownface.evaluation.results import Mistake, Problem
from knownface.evaluation.tables import Row, number
from knownface.imaging import thumbnail
from knownface.types import Box, Face, Image

CORNERS: Final = ("x_min", "y_min", "x_max", "y_max")
# What there is to wait for.
LOOKING: Final = "looking at pictures"
DRAWING: Final = "drawing the worst mistakes"
# More mistakes than this nobody looks at.
MOST_MISTAKES: Final = 48
THUMBNAIL: Final = 160
# How many times the longer side of its box a thumbnail of a face shows.
_REACH: Final = 1.6


class Label(Protocol):
    """What a row says of a picture."""

    @property
    def path(self) -> Path: ...


L = TypeVar("L", bound=Label)
R = TypeVar("R")
T = TypeVar("T")


class Unjudged(Exception):
    """A row cannot be judged, and this is why; it is reported and left out."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """An answer to show among the mistakes: of which picture, where in it, and in which words."""

    path: Path
    box: Box | None
    caption: str


def labelled_box(cells: Mapping[str, str]) -> Box | None:
    """Return the face box of a row, None where its columns are empty or absent."""
    given = [name for name in CORNERS if cells.get(name)]
    if not given:
        return None
    if len(given) < len(CORNERS):
        absent = ", ".join(name for name in CORNERS if name not in given)
        raise ValueError(f"a box has four numbers, and {absent} is missing")
    left, top, right, bottom = (number(cells, name) for name in CORNERS)
    if right <= left or bottom <= top:
        raise ValueError("the box is empty: x_max and y_max have to be the larger ones")
    return Box(left, top, right, bottom, 1.0)


def ready(judge: Judge, slugs: Sequence[str]) -> None:
    """Load what the plugins of these slugs run; raises ModelUnavailable before any work is done."""
    for slug in slugs:
        for name in judge.pipeline.plugins[slug].models:
            judge.pipeline.networks[name].load()


def judged(
    judge: Judge,
    labels: Path,
    read: tuple[Sequence[Row[L]], Sequence[Problem]],
    work: Callable[[Image, L], R],
) -> tuple[list[tuple[L, R]], tuple[Problem, ...]]:
    """Return what `work` makes of the picture of each row, and all rows that are left out.

    `read` is what there is in the file of labels; InvalidRequest when no row of it is of use.
    """
    rows, problems = read

    def one(row: Row[L]) -> tuple[L, R] | Problem:
        label = row.value
        try:
            return label, work(judge.image(label.path), label)
        except UNREADABLE as error:
            reason = error.message
        except Unjudged as error:
            reason = str(error)
        return Problem(str(labels), row.line, f"{label.path.name}: {reason}")

    results = judge.map(LOOKING, rows, one)
    answers = [result for result in results if not isinstance(result, Problem)]
    left = [*problems, *(result for result in results if isinstance(result, Problem))]
    return some(labels, answers, left), tuple(sorted(left, key=lambda problem: problem.line))


def some(labels: Path, found: list[T], problems: Sequence[Problem]) -> list[T]:
    """Return what was found; InvalidRequest, with the first reason, when that is nothing."""
    if not found:
        why = f" The first of {len(problems)} problems: {problems[0]}." if problems else ""
        raise InvalidRequest(f"Nothing can be measured: {labels} has no row of use.{why}")
    return found


def attributes(judge: Judge, image: Image, face: Face, slugs: Sequence[str]) -> dict[str, Any]:
    """Return what each plugin says of a face; Unjudged where one has failed."""
    said = judge.describe(image, face, slugs).attributes
    lacking = [slug for slug in slugs if slug not in said]
    if lacking:
        raise Unjudged(f"{', '.join(lacking)}: no answer for this face; the log says why")
    return {slug: said[slug] for slug in slugs}


def mistakes(judge: Judge, wrong: Sequence[Wrong]) -> tuple[Mistake, ...]:
    """Return the first of these with their pictures, which are read again for it."""

    def shown(one: Wrong) -> Mistake:
        try:
            image = judge.image(one.path)
        except UNREADABLE:
            return Mistake(one.caption, ())
        if one.box is None:
            return Mistake(one.caption, (thumbnail(image, THUMBNAIL),))
        return Mistake(one.caption, (thumbnail(excerpt(image, one.box, _REACH)[0], THUMBNAIL),))

    return tuple(judge.map(DRAWING, wrong[:MOST_MISTAKES], shown))


def excerpt(image: Image, box: Box, reach: float) -> tuple[Image, tuple[int, int]]:
    """Return what the picture shows around a box, and where in it that begins: (x, y).

    It is a square of `reach` times the longer side of the box, or what the picture has of that.
    """
    half = max(1.0, reach * max(box.width, box.height)) / 2
    x, y = (box.x_min + box.x_max) / 2, (box.y_min + box.y_max) / 2
    left = min(max(0, round(x - half)), image.width - 1)
    top = min(max(0, round(y - half)), image.height - 1)
    right, bottom = max(left + 1, round(x + half)), max(top + 1, round(y + half))
    return Image(np.ascontiguousarray(image.pixels[top:bottom, left:right])), (left, top)


def origin(judge: Judge, slugs: Sequence[str], **counts: int) -> dict[str, object]:
    """Return what figures stand on: the models, their versions, and how much data of which kind."""
    pipeline = judge.pipeline
    names = sorted({name for slug in slugs for name in pipeline.plugins[slug].models})
    names = names or [pipeline.detector.name]
    return {
        "model": ", ".join(names),
        "detector": pipeline.detector.name,
        "runtime": pipeline.networks[names[0]].runtime,
        "versions": pipeline.versions(slugs),
        "data": counts,
    }


def by_size(box: Box, bounds: Sequence[int]) -> str:
    """Return the group of sizes, by the shorter side in pixels, that a box belongs to."""
    side = min(box.width, box.height)
    if side < bounds[0]:
        return f"under {bounds[0]} px"
    lower = max(bound for bound in bounds if side >= bound)
    upper = [bound for bound in bounds if bound > lower]
    return f"{lower} to {upper[0]} px" if upper else f"from {lower} px"


def sizes(bounds: Sequence[int]) -> list[str]:
    """Return the groups of sizes, smallest first."""
    middle = [f"{a} to {b} px" for a, b in pairwise(bounds)]
    return [f"under {bounds[0]} px", *middle, f"from {bounds[-1]} px"]
