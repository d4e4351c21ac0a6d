"""Whether faces wear masks: three values, and how often the answer is the labelled one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from knownface.evaluation.judging import Judge
from knownface.evaluation.labelled import (
    Wrong,
    attributes,
    by_size,
    judged,
    labelled_box,
    mistakes,
    origin,
    ready,
    sizes,
)
from knownface.evaluation.results import Evaluation, Histogram, Matrix, Table
from knownface.evaluation.tables import picture, read_rows
from knownface.evaluation.wording import percent
from knownface.types import Box, Image
from knownface.vision.plugins.mask import VALUES

SLUG: Final = "mask"
SIZES: Final = (24, 40, 80)
# How others spell the values, in lower case with _ for whatever is no letter.
SYNONYMS: Final = {
    "without_mask": ("no_mask", "nomask", "unmasked", "no", "none", "0"),
    "with_mask": ("mask", "masked", "correct", "correct_mask", "mask_worn_correctly", "yes"),
    "mask_weared_incorrect": (
        "mask_weared_incorrectly",
        "mask_worn_incorrect",
        "mask_worn_incorrectly",
        "incorrect",
        "incorrect_mask",
        "improper_mask",
    ),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A face, and which of VALUES it is labelled with."""

    path: Path
    value: int
    source: str
    box: Box | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Which of VALUES was answered, how surely, and about which box; `found` by the detector?"""

    value: int
    probability: float
    box: Box
    found: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """The figures of some faces; None where no face can tell.

    `balanced_accuracy` is the mean of the recalls of those values that are labelled at all.
    """

    faces: int
    accuracy: float | None
    balanced_accuracy: float | None
    mask_vs_none: float | None
    recall: dict[str, float | None]


Judged = tuple[Labelled, Answer]


def evaluate(labels: Path, images: Path, judge: Judge) -> Evaluation:
    """Measure on rows of file and label, optionally source and x_min, y_min, x_max, y_max."""
    ready(judge, (SLUG,))
    read = read_rows(labels, ("file", "label"), partial(_labelled, images))
    answers, problems = judged(judge, labels, read, partial(_answer, judge))
    pictures = len({label.path for label, _ in answers})
    counts = {"faces": len(answers), "pictures": pictures, "bad_rows": len(problems)}
    return Evaluation(
        kind="mask",
        figures=_figures(answers) | origin(judge, (SLUG,), **counts),
        tables=_tables(answers),
        charts=(_matrix(answers), _surety(answers)),
        mistakes=mistakes(judge, _wrong(answers)),
        problems=problems,
    )


def value_of(label: str) -> int:
    """Return which of VALUES a label means; ValueError for one that means none."""
    word = re.sub(r"[\W_]+", "_", label.strip().lower()).strip("_")
    for k, value in enumerate(VALUES):
        if word == value or word in SYNONYMS[value]:
            return k
    raise ValueError(f"label is {label!r}, none of {', '.join(VALUES)}")


def scores(labelled: Sequence[int], answered: Sequence[int]) -> Scores:
    """Return the figures of faces by the places of their labels and answers in VALUES."""
    true, said = np.asarray(labelled, int), np.asarray(answered, int)
    recall = {
        value: float(np.mean(said[true == k] == k)) if (true == k).any() else None
        for k, value in enumerate(VALUES)
    }
    known = [share for share in recall.values() if share is not None]
    if not known:
        return Scores(0, None, None, None, recall)
    masked = float(np.mean((true > 0) == (said > 0)))
    accuracy, balanced = float(np.mean(true == said)), float(np.mean(known))
    return Scores(len(true), accuracy, balanced, masked, recall)


def _labelled(images: Path, cells: dict[str, str]) -> Labelled:
    value = value_of(cells["label"])
    path = picture(images, cells["file"])
    return Labelled(path, value, cells.get("source", ""), labelled_box(cells))


def _answer(judge: Judge, image: Image, label: Labelled) -> Answer:
    face, found = judge.face_at(image, label.box)
    if not found:  # the plugin passes over faces without landmarks, but needs none
        face = replace(face, landmarks=np.zeros((5, 2), np.float32))
    said = attributes(judge, image, face, (SLUG,))[SLUG]
    return Answer(VALUES.index(said["value"]), said["probability"], face.box, found)


def _scores(answers: Sequence[Judged]) -> Scores:
    return scores([label.value for label, _ in answers], [answer.value for _, answer in answers])


def _groups(answers: Sequence[Judged]) -> dict[str, dict[str, list[Judged]]]:
    """Sort the faces by what may make a difference."""
    sources = sorted({label.source for label, _ in answers if label.source})
    return {
        "sources": {s: [a for a in answers if a[0].source == s] for s in sources},
        "sizes": {
            size: [a for a in answers if by_size(a[0].box or a[1].box, SIZES) == size]
            for size in sizes(SIZES)
        },
        "detection": {
            "found": [a for a in answers if a[1].found],
            "not_detected": [a for a in answers if not a[1].found],
        },
    }


def _figures(answers: Sequence[Judged]) -> dict[str, object]:
    groups = {
        kind: {name: asdict(_scores(faces)) for name, faces in groups.items() if faces}
        for kind, groups in _groups(answers).items()
    }
    missed = sum(not answer.found for _, answer in answers)
    confusion = {"values": list(VALUES), "counts": _confusion(answers)}
    return {**asdict(_scores(answers)), "not_detected": missed, **groups, "confusion": confusion}


def _confusion(answers: Sequence[Judged]) -> list[list[int]]:
    pairs = [(label.value, answer.value) for label, answer in answers]
    every = range(len(VALUES))
    return [[pairs.count((true, said)) for said in every] for true in every]


def _tables(answers: Sequence[Judged]) -> tuple[Table, ...]:
    total, groups = _scores(answers), _groups(answers)
    missed = len(groups["detection"]["not_detected"])
    short = (
        ("Accuracy", percent(total.accuracy), "of three values"),
        ("Balanced accuracy", percent(total.balanced_accuracy), "each value counts the same"),
        ("Mask or none", percent(total.mask_vs_none), "however it is worn"),
        ("Faces", f"{len(answers):,}", ""),
        ("Not detected", f"{missed:,}", "judged on the labelled box"),
    )
    columns = ("", "faces", "right", "balanced", "mask or none", *(f"{v} found" for v in VALUES))
    titles = {"sources": "By source", "sizes": "By size of the face", "detection": "By detection"}
    names = {"not_detected": "missed, judged on the labelled box", "found": "found by the detector"}
    tables = [
        Table(titles[kind], columns, tuple(_row(names.get(n, n), f) for n, f in those.items() if f))
        for kind, those in groups.items()
        if any(those.values())
    ]
    return (Table("Masks", ("figure", "value", "on"), short), *tables)


def _row(name: str, answers: Sequence[Judged]) -> tuple[object, ...]:
    found = _scores(answers)
    shares = (found.accuracy, found.balanced_accuracy, found.mask_vs_none, *found.recall.values())
    return (name, len(answers), *map(percent, shares))


def _matrix(answers: Sequence[Judged]) -> Matrix:
    counts = tuple(tuple(row) for row in _confusion(answers))
    return Matrix("Labels and answers", VALUES, VALUES, counts)


def _surety(answers: Sequence[Judged]) -> Histogram:
    """Show whether right answers are surer than wrong ones."""

    def probabilities(right: bool) -> np.ndarray:
        return np.array([a.probability for lab, a in answers if (lab.value == a.value) == right])

    series = (("right", probabilities(right=True)), ("wrong", probabilities(right=False)))
    return Histogram("How sure the answers are", "probability of the answer", series)


def _wrong(answers: Sequence[Judged]) -> list[Wrong]:
    """Return the wrong answers, the surest first."""
    wrong = [(label, answer) for label, answer in answers if label.value != answer.value]
    wrong.sort(key=lambda pair: -pair[1].probability)
    return [
        Wrong(
            label.path,
            answer.box,
            f"{label.path.name}: {VALUES[label.value]}, answered {VALUES[answer.value]}"
            f" ({answer.probability:.0%}{'' if answer.found else ', not detected'})",
        )
        for label, answer in wrong
    ]
