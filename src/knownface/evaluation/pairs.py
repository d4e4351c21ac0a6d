"""Pairs of pictures, read from a file and compared: the ground of what is said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from knownface.errors import InvalidRequest
from knownface.evaluation.judging import Judge
from knownface.evaluation.metrics import F64, Bools
from knownface.evaluation.portraits import Portrait, portraits
from knownface.evaluation.results import Problem
from knownface.evaluation.strangers import (
    Counted,
    count_by_pairs,
    count_by_person,
    people_by_folder,
)
from knownface.evaluation.tables import Row, boolean, picture, read_rows
from knownface.evaluation.wording import counted

REQUIRED: Final = ("file_a", "file_b", "same")


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of the file; `fold` is empty where the file has no folds."""

    a: Path
    b: Path
    same: bool
    fold: str
    group: str


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """All pairs whose pictures could be read, with the cosine of each; -inf without two faces."""

    pairs: tuple[Pair, ...]
    faces: Mapping[Path, Portrait]
    scores: F64
    same: Bools
    problems: tuple[Problem, ...]

    @property
    def found(self) -> Bools:
        return np.isfinite(self.scores)

    @property
    def not_detected(self) -> int:
        """How many of the pictures have no face."""
        return sum(face.vector is None for face in self._readable)

    @property
    def pictures(self) -> int:
        return len(self._readable)

    @property
    def _readable(self) -> list[Portrait]:
        used = dict.fromkeys(path for pair in self.pairs for path in (pair.a, pair.b))
        return [self.faces[path] for path in used]


def compare(
    labels: Path, images: Path, judge: Judge, *, by: str | None = None, padding: float = 0.0
) -> Compared:
    """Read the pairs, look at their pictures, and compare the faces.

    Raises InvalidRequest when no pair of the same or none of different people is left.
    """
    rows, problems = _read(labels, images, by)
    paths = [path for row in rows for path in (row.value.a, row.value.b)]
    faces = portraits(judge, paths, padding)
    usable = []
    for row in rows:
        pair = row.value
        broken = [faces[path] for path in (pair.a, pair.b) if faces[path].trouble]
        if broken:
            reason = f"{broken[0].path}: {broken[0].trouble}"
            problems.append(Problem(str(labels), row.line, reason))
        else:
            usable.append(pair)
    problems.sort(key=lambda problem: problem.line)
    scores = np.array([_cosine(faces[pair.a], faces[pair.b]) for pair in usable], np.float64)
    same = np.array([pair.same for pair in usable], np.bool_)
    for kind, whom in ((True, "the same person"), (False, "different people")):
        if not np.isfinite(scores[same == kind]).any():
            raise InvalidRequest(_nothing(labels, whom, usable, problems))
    return Compared(tuple(usable), faces, scores, same, tuple(problems))


def all_pairs(compared: Compared, images: Path) -> tuple[Counted, str]:
    """Compare all pictures whose people are known to differ, and say how that is known."""
    pictures = [(pair.a, pair.b, pair.same) for pair in compared.pairs]
    paths = sorted({path for a, b, _ in pictures for path in (a, b)})
    vectors = {p: v for p in paths if (v := compared.faces[p].vector) is not None}
    matrix = np.stack(list(vectors.values()))
    people = people_by_folder(pictures, images)
    if people is not None:
        return count_by_person(matrix, [people[path] for path in vectors]), "folders"
    rows = {path: row for row, path in enumerate(vectors)}
    known = [(rows[a], rows[b], s) for a, b, s in pictures if a in rows and b in rows]
    return count_by_pairs(matrix, known), "pairs"


def _read(labels: Path, images: Path, by: str | None) -> tuple[list[Row[Pair]], list[Problem]]:
    group = by.strip().lower() if by else ""

    def parse(cells: dict[str, str]) -> Pair:
        if "fold" in cells and not cells["fold"]:
            raise ValueError("fold is empty")
        same = boolean(cells, "same")
        a, b = picture(images, cells["file_a"]), picture(images, cells["file_b"])
        if a == b:
            raise ValueError("both pictures are the same file")
        return Pair(a, b, same, cells.get("fold", ""), cells.get(group, ""))

    return read_rows(labels, (*REQUIRED, group) if group else REQUIRED, parse)


def _cosine(a: Portrait, b: Portrait) -> float:
    if a.vector is None or b.vector is None:
        return -np.inf
    return float(np.clip(a.vector @ b.vector, -1, 1))


def _nothing(labels: Path, whom: str, usable: Sequence[Pair], problems: Sequence[Problem]) -> str:
    why = f" The first of {len(problems)} problems: {problems[0]}." if problems else ""
    return (
        f"Nothing can be measured: {labels} has no usable pair of {whom} with a face in both "
        f"pictures ({counted(len(usable), 'usable pair')} in all).{why}"
    )
