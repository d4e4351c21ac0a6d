"""All pairs of pictures of different people: many more comparisons than anybody lists by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from knownface.evaluation.metrics import Tally
from knownface.evaluation.portraits import BLOCK
from knownface.types import F32, I64


@dataclass(slots=True)
class Counted:
    """The cosines of all pairs whose people are known: different ones, and the same."""

    strangers: Tally = field(default_factory=Tally)
    own: Tally = field(default_factory=Tally)


def people_by_folder(
    pairs: Sequence[tuple[Path, Path, bool]], images: Path
) -> dict[Path, str] | None:
    """Return who each picture shows, told by its folder; None when folders do not tell.

    A folder at some depth below `images` is a person if all pairs of the same person share it and
    no pair of different people does.
    """
    listed = [(_folders(a, images), _folders(b, images), same) for a, b, same in pairs]
    deepest = min((min(len(a), len(b)) for a, b, _ in listed), default=0)
    for depth in range(1, deepest + 1):
        if all((a[:depth] == b[:depth]) == same for a, b, same in listed):
            paths = {path for a, b, _ in pairs for path in (a, b)}
            return {path: "/".join(_folders(path, images)[:depth]) for path in paths}
    return None


def count_by_person(vectors: F32, people: Sequence[str]) -> Counted:
    """Compare every picture with every other; who they show is known of each."""
    counted = Counted()
    _, names = np.unique(np.array(people), return_inverse=True)
    order = np.argsort(names, kind="stable")
    vectors, names = vectors[order], names[order]
    step = max(1, BLOCK // max(1, len(vectors)))
    for start in range(0, len(vectors), step):
        stop = min(start + step, len(vectors))
        cosines = vectors[start:stop] @ vectors[start:].T
        later = np.triu(np.ones(cosines.shape, np.bool_), 1)
        same = names[start:stop, None] == names[None, start:]
        counted.strangers.add(cosines[later & ~same])
        counted.own.add(cosines[later & same])
    return counted


def count_by_pairs(vectors: F32, pairs: Sequence[tuple[int, int, bool]]) -> Counted:
    """Compare what pairs of rows, and their consequences, tell to be of different people.

    Whoever is the same as somebody is different from all whom that one is different from. Pairs of
    which nothing is known are left out.
    """
    counted = Counted()
    people = _joined(len(vectors), [(a, b) for a, b, same in pairs if same])
    members: dict[int, list[int]] = {}
    for row, person in enumerate(people.tolist()):
        members.setdefault(person, []).append(row)
    apart = {
        (min(x, y), max(x, y))
        for x, y in ((int(people[a]), int(people[b])) for a, b, same in pairs if not same)
        if x != y
    }
    for x, y in sorted(apart):
        counted.strangers.add(vectors[members[x]] @ vectors[members[y]].T)
    for rows in members.values():
        if len(rows) > 1:
            cosines = vectors[rows] @ vectors[rows].T
            counted.own.add(cosines[np.triu_indices(len(rows), 1)])
    return counted


def _folders(path: Path, images: Path) -> tuple[str, ...]:
    try:
        return path.relative_to(images).parts[:-1]
    except ValueError:
        return path.parts[:-1]


def _joined(count: int, links: Iterable[tuple[int, int]]) -> I64:
    """Return for each row the smallest row that it is linked with, over however many others."""
    parents = list(range(count))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for a, b in links:
        first, second = sorted((root(a), root(b)))
        parents[second] = first
    joined: NDArray[np.int64] = np.array([root(row) for row in range(count)], np.int64)
    return joined
