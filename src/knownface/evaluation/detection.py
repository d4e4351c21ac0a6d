"""Finding faces: which of the labelled ones the detector finds, and what it takes for one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from knownface.drawing import Label, annotate, encoded
from knownface.evaluation.annotations import Annotated, Truth, read_annotations
from knownface.evaluation.judging import UNREADABLE, Judge, overlap
from knownface.evaluation.labelled import (
    DRAWING,
    LOOKING,
    MOST_MISTAKES,
    THUMBNAIL,
    by_size,
    excerpt,
    origin,
    sizes,
    some,
)
from knownface.evaluation.metrics import F64
from knownface.evaluation.results import (
    Curve,
    Evaluation,
    Histogram,
    Mistake,
    Problem,
    Table,
)
from knownface.evaluation.wording import percent
from knownface.imaging import resize
from knownface.types import Box, Face

# From this overlap on, a found box is the labelled one.
OVERLAP: Final = 0.5
THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
SIZES: Final = (20, 40, 80, 160)
# Everything that the detector ever answers, however faint.
_FAINTEST: Final = 0.0
# How many times the longer side of its box a thumbnail shows.
_REACH: Final = 3.0


@dataclass(frozen=True, slots=True)
class Found:
    """A found box, and the labelled face that it is: None is a false positive."""

    box: Box
    truth: Truth | None

    @property
    def counts(self) -> bool:
        """Whether it is right or wrong; a face that the labels leave open is neither."""
        return self.truth is None or not self.truth.ignored


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture, the faces that it is labelled with, and what was found, most probable first."""

    path: Path
    truths: tuple[Truth, ...]
    found: tuple[Found, ...]

    def above(self, threshold: float) -> list[Found]:
        return [one for one in self.found if one.counts and one.box.probability > threshold]

    def missed(self, threshold: float) -> list[Truth]:
        hit = [one.truth for one in self.above(threshold)]
        return [truth for truth in self.truths if not truth.ignored and truth not in hit]


@dataclass(frozen=True, slots=True)
class Scores:
    """The figures at one threshold; None where there is nothing to divide by."""

    threshold: float
    faces: int
    recall: float | None
    precision: float | None
    not_detected: int
    false_positives: int
    false_positives_per_picture: float | None


def evaluate(labels: Path, images: Path, judge: Judge) -> Evaluation:
    """Measure on rows of file, x_min, y_min, x_max and y_max, an XML or a JSON file of faces."""
    judge.pipeline.networks[judge.pipeline.detector.name].load()
    pictures, problems = read_annotations(labels, images)
    results = judge.map(LOOKING, pictures, lambda picture: _look(judge, labels, picture))
    problems += [result for result in results if isinstance(result, Problem)]
    problems.sort(key=lambda problem: problem.line or math.inf)  # the reason before what follows
    seen = some(labels, [result for result in results if isinstance(result, Seen)], problems)
    threshold = judge.pipeline.det_prob_threshold
    return Evaluation(
        kind="detection",
        figures=_figures(seen, threshold)
        | origin(
            judge,
            (),
            faces=scores(seen, threshold).faces,
            pictures=len(seen),
            pictures_without_faces=sum(not picture.truths for picture in seen),
            bad_rows=len(problems),
        ),
        tables=_tables(seen, threshold),
        charts=(_precision_by_recall(seen), _probabilities(seen, threshold)),
        mistakes=_mistakes(judge, seen, threshold),
        problems=tuple(problems),
    )


def match(boxes: Sequence[Box], truths: Sequence[Truth]) -> tuple[Found, ...]:
    """Give each box, the most probable first, the labelled face that fits it best and is free.

    A box fits from an overlap of 0.5 on, a labelled point if the box holds it. One that fits none
    but a face that the labels leave open is given that.
    """
    free = list(truths)
    found = []
    for box in sorted(boxes, key=lambda box: -box.probability):
        ranked = [(not t.ignored, _fit(box, t), k) for k, t in enumerate(free)]
        fitting = [rank for rank in ranked if rank[1] > 0]
        if not fitting:
            found.append(Found(box, None))
            continue
        place = max(fitting)[2]
        found.append(Found(box, free[place]))
        if not free[place].ignored:
            del free[place]
    return tuple(found)


def scores(seen: Sequence[Seen], threshold: float) -> Scores:
    """Return the figures of these pictures at a threshold of the probability."""
    found = [one for picture in seen for one in picture.above(threshold)]
    hits = sum(one.truth is not None for one in found)
    missed = sum(len(picture.missed(threshold)) for picture in seen)
    wrong = len(found) - hits
    return Scores(
        threshold=threshold,
        faces=hits + missed,
        recall=hits / (hits + missed) if hits + missed else None,
        precision=hits / len(found) if found else None,
        not_detected=missed,
        false_positives=wrong,
        false_positives_per_picture=wrong / len(seen) if seen else None,
    )


def precision_by_recall(seen: Sequence[Seen]) -> tuple[F64, F64]:
    """Return recall and precision at every threshold that changes them, float64 [n] each."""
    found = [one for picture in seen for one in picture.above(_FAINTEST)]
    found.sort(key=lambda one: -one.box.probability)
    hits = np.cumsum([one.truth is not None for one in found], dtype=np.float64)
    faces = sum(not truth.ignored for picture in seen for truth in picture.truths)
    ends = [
        k
        for k, one in enumerate(found)
        if k + 1 == len(found) or found[k + 1].box.probability < one.box.probability
    ]
    places = np.array(ends, np.intp)
    return hits[places] / max(1, faces), hits[places] / (places + 1.0)


def average_precision(seen: Sequence[Seen]) -> float | None:
    """Return the area below precision by recall, each precision the best at that recall or more."""
    if not any(not truth.ignored for picture in seen for truth in picture.truths):
        return None
    recall, precision = precision_by_recall(seen)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * best))


def _fit(box: Box, truth: Truth) -> float:
    """Return how well a found box is a labelled face, 0 where it is another."""
    label = truth.box
    if label.area > 0:
        share = overlap(box, label)
        return share if share >= OVERLAP else 0.0
    if not (box.x_min <= label.x_min <= box.x_max and box.y_min <= label.y_min <= box.y_max):
        return 0.0
    across = abs((box.x_min + box.x_max) / 2 - label.x_min) / max(box.width, 1e-9)
    down = abs((box.y_min + box.y_max) / 2 - label.y_min) / max(box.height, 1e-9)
    return 1.5 - across - down


def _look(judge: Judge, labels: Path, picture: Annotated) -> Seen | Problem:
    try:
        image = judge.image(picture.path)
    except UNREADABLE as error:
        reason = f"{picture.path.name}: {error.message}"
        return Problem(str(labels), picture.line, reason)
    boxes = [face.box for face in judge.pipeline.detect(image, _FAINTEST)]
    return Seen(picture.path, picture.truths, match(boxes, picture.truths))


def _by_size(seen: Sequence[Seen], threshold: float) -> dict[str, tuple[int, int]]:
    """Return for each size of labelled boxes how many there are, and how many are missed."""
    groups = dict.fromkeys(sizes(SIZES), (0, 0))
    for picture in seen:
        missed = picture.missed(threshold)
        for truth in picture.truths:
            if truth.box.area > 0 and not truth.ignored:
                size = by_size(truth.box, SIZES)
                count, lost = groups[size]
                groups[size] = (count + 1, lost + (truth in missed))
    return {size: counts for size, counts in groups.items() if counts[0]}


def _figures(seen: Sequence[Seen], threshold: float) -> dict[str, object]:
    empty = [picture for picture in seen if not picture.truths]
    return {
        **asdict(scores(seen, threshold)),
        "average_precision": average_precision(seen),
        "empty_pictures_with_a_face": sum(bool(picture.above(threshold)) for picture in empty),
        "thresholds": [asdict(scores(seen, one)) for one in _thresholds(threshold)],
        "sizes": {
            size: {"faces": count, "not_detected": lost, "recall": 1 - lost / count}
            for size, (count, lost) in _by_size(seen, threshold).items()
        },
    }


def _thresholds(default: float) -> list[float]:
    return sorted({*THRESHOLDS, default})


def _tables(seen: Sequence[Seen], threshold: float) -> tuple[Table, ...]:
    at = scores(seen, threshold)
    average = average_precision(seen)
    short = (
        ("Recall", percent(at.recall), f"of {at.faces:,} faces"),
        ("Precision", percent(at.precision), f"in {len(seen):,} pictures"),
        ("Average precision", "–" if average is None else f"{average:.3f}", "at any threshold"),
        ("Not detected", f"{at.not_detected:,}", f"at the threshold of {threshold:g}"),
        ("False positives", f"{at.false_positives:,}", f"at the threshold of {threshold:g}"),
    )
    columns = ("threshold", "recall", "precision", "not detected", "false positives", "a picture")
    rows = tuple(_row(scores(seen, one)) for one in _thresholds(threshold))
    by_size_ = tuple(
        (size, count, lost, percent(1 - lost / count))
        for size, (count, lost) in _by_size(seen, threshold).items()
    )
    tables = [Table("Detection", ("figure", "value", "on"), short)]
    tables.append(Table("By threshold", columns, rows))
    if by_size_:
        heads = ("shorter side", "faces", "not detected", "recall")
        tables.append(Table("By size of the labelled box", heads, by_size_))
    return tuple(tables)


def _row(at: Scores) -> tuple[object, ...]:
    often = at.false_positives_per_picture
    return (
        f"{at.threshold:g}",
        percent(at.recall),
        percent(at.precision),
        at.not_detected,
        at.false_positives,
        "–" if often is None else f"{often:.3f}",
    )


def _precision_by_recall(seen: Sequence[Seen]) -> Curve:
    recall, precision = precision_by_recall(seen)
    return Curve("Precision by recall", "recall", "precision", (("", recall, precision),))


def _probabilities(seen: Sequence[Seen], threshold: float) -> Histogram:
    found = [one for picture in seen for one in picture.above(_FAINTEST)]
    series = tuple(
        (name, np.array([f.box.probability for f in found if (f.truth is not None) == right]))
        for name, right in (("labelled faces", True), ("others", False))
    )
    return Histogram("How probable found faces are", "probability", series, threshold)


def _mistakes(judge: Judge, seen: Sequence[Seen], threshold: float) -> tuple[Mistake, ...]:
    """Show the largest faces that are missed, and the most probable ones that are none."""
    missed = [(picture.path, t.box) for picture in seen for t in picture.missed(threshold)]
    missed.sort(key=lambda one: -one[1].area)
    false = [
        (picture.path, one.box)
        for picture in seen
        for one in picture.above(threshold)
        if one.truth is None
    ]
    false.sort(key=lambda one: -one[1].probability)
    half = MOST_MISTAKES // 2
    chosen = [
        _Shown(path, box, f"{path.name}: not detected", labelled=True)
        for path, box in missed[: max(half, MOST_MISTAKES - len(false))]
    ]
    chosen += [
        _Shown(path, box, f"{path.name}: found ({box.probability:.0%}), but not labelled")
        for path, box in false[: MOST_MISTAKES - len(chosen)]
    ]
    return tuple(judge.map(DRAWING, chosen, lambda one: _mistake(judge, one)))


@dataclass(frozen=True, slots=True)
class _Shown:
    """A box to frame: green where a face is labelled, else orange."""

    path: Path
    box: Box
    caption: str
    labelled: bool = False


def _mistake(judge: Judge, one: _Shown) -> Mistake:
    try:
        image = judge.image(one.path)
    except UNREADABLE:
        return Mistake(one.caption, ())
    box = one.box
    if not box.area:
        box = _around(box, max(image.width, image.height) / 20)
    shown, (left, top) = excerpt(image, box, _REACH)
    scale = min(1.0, THUMBNAIL / max(shown.width, shown.height))
    small = resize(shown, *(max(1, round(scale * side)) for side in (shown.width, shown.height)))
    corners = (box.x_min - left, box.y_min - top, box.x_max - left, box.y_max - top)
    left_, top_, right, bottom = (scale * corner for corner in corners)
    frame = Box(left_, top_, right, bottom, 1.0)
    drawn = annotate(small, [Label(Face(frame), known=one.labelled)])
    return Mistake(one.caption, (encoded(drawn, "JPEG"),))


def _around(point: Box, reach: float) -> Box:
    """Return a box around a labelled point, so that something can be shown."""
    x, y = point.x_min, point.y_min
    return Box(x - reach, y - reach, x + reach, y + reach, 1.0)
