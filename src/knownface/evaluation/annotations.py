"""Where the faces of pictures are, as people write it down: CSV, dlib's XML, JSON of noses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from knownface.errors import InvalidRequest
from knownface.evaluation.labelled import labelled_box
from knownface.evaluation.results import Problem
from knownface.evaluation.tables import number, picture, read_rows
from knownface.types import Box


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A labelled face: its box, or one point of it (a box without an area).

    An `ignored` one may be found or not: nobody knows whether it is a face. Two are never equal,
    though their boxes may be.
    """

    box: Box
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class Annotated:
    """A picture and all of its faces; `line` is the first that names it."""

    path: Path
    truths: tuple[Truth, ...]
    line: int


@dataclass(slots=True)
class _Gathered:
    """Faces by picture, in the order of the file; a picture with a bad row is left out."""

    images: Path
    faces: dict[Path, list[Truth]] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    spoilt: set[Path] = field(default_factory=set)

    def add(self, path: Path, line: int, truths: Iterable[Truth]) -> None:
        self.faces.setdefault(path, []).extend(truths)
        self.lines.setdefault(path, line)

    def result(self) -> tuple[list[Annotated], list[Problem]]:
        reason = "the picture is left out, for one of its rows is bad"
        left = [Problem(str(path), 0, reason) for path in sorted(self.spoilt)]
        pictures = [
            Annotated(path, tuple(truths), self.lines[path])
            for path, truths in self.faces.items()
            if path not in self.spoilt
        ]
        return pictures, [*self.problems, *left]


def read_annotations(labels: Path, images: Path) -> tuple[list[Annotated], list[Problem]]:
    """Return the pictures with their faces, and what cannot be used; the suffix tells the format.

    .xml   dlib's: <image file=''> with <box top='' left='' width='' height=''>
    .json  points: {"noses": {"file": [[x, y], …]}}, or without the outer object
    others CSV with file, x_min, y_min, x_max, y_max: a row a face; without a box, no face
    """
    readers = {".xml": _read_xml, ".json": _read_json}
    return readers.get(labels.suffix.lower(), _read_csv)(labels, images)


def _read_csv(labels: Path, images: Path) -> tuple[list[Annotated], list[Problem]]:
    gathered = _Gathered(images)

    def parse(cells: dict[str, str]) -> tuple[Path, Box | None]:
        path = picture(images, cells["file"])
        try:
            return path, labelled_box(cells)
        except ValueError:
            gathered.spoilt.add(path)
            raise

    rows, problems = read_rows(labels, ("file",), parse)
    gathered.problems += problems
    for row in rows:
        path, box = row.value
        gathered.add(path, row.line, [Truth(box)] if box else [])
    return gathered.result()


def _read_xml(labels: Path, images: Path) -> tuple[list[Annotated], list[Problem]]:
    gathered = _Gathered(images)
    parser = expat.ParserCreate()
    current: list[Path] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        line = parser.CurrentLineNumber
        try:
            if tag == "image":
                current.clear()
                current.append(picture(images, attributes.get("file", "")))
                gathered.add(current[0], line, [])
            elif tag == "box" and current:
                gathered.add(current[0], line, [_dlib_box(attributes)])
        except ValueError as error:
            gathered.problems.append(Problem(str(labels), line, str(error)))
            gathered.spoilt.update(current)

    def refuse(*_: object) -> None:
        raise InvalidRequest(f"{labels} defines entities, which label files have no use for.")

    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(labels.read_bytes(), True)
    except OSError as error:
        raise InvalidRequest(f"{labels} cannot be read: {error.strerror}.") from error
    except expat.ExpatError as error:
        raise InvalidRequest(f"{labels} is no XML: {error}.") from error
    return gathered.result()


def _dlib_box(attributes: dict[str, str]) -> Truth:
    names = ("left", "top", "width", "height")
    try:
        left, top, width, height = (number(attributes, name) for name in names)
    except (KeyError, ValueError):
        raise ValueError(f"a box needs numbers as {', '.join(names)}") from None
    if not (width > 0 and height > 0):
        raise ValueError("the box is empty")
    box = Box(left, top, left + width, top + height, 1.0)
    return Truth(box, ignored=attributes.get("ignore") == "1")


def _read_json(labels: Path, images: Path) -> tuple[list[Annotated], list[Problem]]:
    try:
        document = json.loads(labels.read_bytes())
    except OSError as error:
        raise InvalidRequest(f"{labels} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{labels} is no JSON: {error}.") from error
    points = document.get("noses", document) if isinstance(document, dict) else None
    if not isinstance(points, dict):
        raise InvalidRequest(f"{labels} has no object of points by the names of pictures.")
    gathered = _Gathered(images)
    for name, places in points.items():
        try:
            gathered.add(picture(images, name), 0, [_point(place) for place in places])
        except (ValueError, TypeError, OverflowError) as error:
            gathered.problems.append(Problem(str(labels), 0, f"{name}: {error}"))
    return gathered.result()


def _point(place: object) -> Truth:
    if not isinstance(place, list) or len(place) != 2:
        raise ValueError(f"{place!r} is no point [x, y]")
    x, y = (float(value) for value in place)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"{place!r} is no point [x, y]")
    return Truth(Box(x, y, x, y, 1.0))
