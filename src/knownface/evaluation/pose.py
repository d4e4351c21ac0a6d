"""Where heads are turned: three angles in degrees, beside what the labels say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from knownface.errors import InvalidRequest
from knownface.evaluation.judging import Judge
from knownface.evaluation.labelled import (
    Unjudged,
    Wrong,
    attributes,
    judged,
    labelled_box,
    mistakes,
    origin,
    ready,
)
from knownface.evaluation.results import Evaluation, Problem, Scatter, Table
from knownface.evaluation.tables import Row, number, picture, read_rows
from knownface.types import Box, Face, Image

F64 = NDArray[np.float64]

SLUG: Final = "pose"
ANGLES: Final = ("pitch", "yaw", "roll")
# Names of columns: those of AFLW's labels count roll the other way round.
OWN: Final = ANGLES
AFLW: Final = tuple(f"{angle}_deg" for angle in ANGLES)
# Beyond it one eye is hidden; the figures are given with and without such faces.
PROFILE: Final = 50
# A head that is turned by less may be measured to the other side without being wrong.
TURNED: Final = 10
# Turned faces are less probable ones; those that the server would not find are looked for by this.
_FAINT: Final = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A face, and its pitch, yaw and roll in the signs of the server, float64 [3]."""

    path: Path
    angles: F64
    box: Box | None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was measured of a face and of its mirror image (None: no face in there), float64 [3]."""

    angles: F64
    mirrored: F64 | None
    box: Box
    found: bool


Judged = tuple[Labelled, Answer]


def evaluate(
    labels: Path, images: Path, judge: Judge, *, roll_sign: int | None = None
) -> Evaluation:
    """Measure on rows of file, pitch, yaw and roll; or pitch_deg, yaw_deg and roll_deg.

    `roll_sign` is 1 where the labels count roll as the server does, -1 where the other way round.
    None tells it by the columns: those with _deg are AFLW's, -1.
    """
    ready(judge, (SLUG,))

    def read(names: Sequence[str], sign: int) -> tuple[list[Row[Labelled]], list[Problem]]:
        return read_rows(labels, ("file", *names), partial(_labelled, images, names, sign))

    try:
        sign = roll_sign or -1
        rows = read(AFLW, sign)
    except InvalidRequest:
        sign = roll_sign or 1
        rows = read(OWN, sign)
    answers, problems = judged(judge, labels, rows, partial(_answer, judge))
    pictures = len({label.path for label, _ in answers})
    counts = {"faces": len(answers), "pictures": pictures, "bad_rows": len(problems)}
    return Evaluation(
        kind="pose",
        figures={**_figures(answers), "roll_sign": sign} | origin(judge, (SLUG,), **counts),
        tables=_tables(answers),
        charts=_charts(answers),
        mistakes=mistakes(judge, _wrong(answers)),
        problems=problems,
    )


def _labelled(images: Path, names: Sequence[str], sign: int, cells: dict[str, str]) -> Labelled:
    angles = np.array([number(cells, name) for name in names]) * (1, 1, sign)
    if (np.abs(angles) > 180).any():
        raise ValueError(f"an angle is beyond 180 degrees: {angles.round(1).tolist()}")
    return Labelled(picture(images, cells["file"]), angles, labelled_box(cells))


def _answer(judge: Judge, image: Image, label: Labelled) -> Answer:
    face, found = _face(judge, image, label.box)
    if face is None:
        raise Unjudged("no face is found in it, and no box is labelled")
    mirrored = Image(np.ascontiguousarray(image.pixels[:, ::-1]))
    box = face.box
    reflection = Box(image.width - box.x_max, box.y_min, image.width - box.x_min, box.y_max, 1.0)
    other, seen = _face(judge, mirrored, reflection)
    measured = _angles(judge, mirrored, other) if other and seen else None
    return Answer(_angles(judge, image, face), measured, box, found)


def _face(judge: Judge, image: Image, label: Box | None) -> tuple[Face | None, bool]:
    """Return the face that is meant and whether the server would have found it."""
    if label is None:
        central = judge.central_face(image)
        return central or judge.central_face(image, _FAINT), central is not None
    face, found = judge.face_at(image, label)
    if not found:  # the plugin passes over faces without landmarks; these say that it is upright
        face = replace(face, landmarks=np.zeros((5, 2), np.float32))
    return face, found


def _angles(judge: Judge, image: Image, face: Face) -> F64:
    said = attributes(judge, image, face, (SLUG,))[SLUG]
    return np.array([said[angle] for angle in ANGLES])


def mirror_errors(label: F64, found: F64, mirrored: F64 | None) -> list[str]:
    """Return which of yaw and roll has the wrong sign in the picture or in its mirror image.

    Each is float64 [3]. Small turns may go either way, and roll means little in profile.
    """
    _, yaw, roll = np.abs(label)
    asked = [("yaw", 1)] if yaw > TURNED else []
    asked += [("roll", 2)] if roll > TURNED and yaw < PROFILE else []
    return [
        name
        for name, k in asked
        if np.sign(found[k]) != np.sign(label[k])
        or (mirrored is not None and np.sign(mirrored[k]) == np.sign(label[k]))
    ]


def errors(labelled: F64, measured: F64) -> F64:
    """Return how far angles in degrees are off, by the shorter way round; both are of one shape."""
    return np.abs((measured - labelled + 180) % 360 - 180)


def _errors(answers: Sequence[Judged]) -> F64:
    return errors(*_angles_of(answers))


def _angles_of(answers: Sequence[Judged]) -> tuple[F64, F64]:
    """Return the labelled and the measured angles, float64 [faces, 3] each."""
    labelled = np.array([label.angles for label, _ in answers], np.float64)
    measured = np.array([answer.angles for _, answer in answers], np.float64)
    return labelled.reshape(-1, len(ANGLES)), measured.reshape(-1, len(ANGLES))


def _moderate(answers: Sequence[Judged]) -> list[Judged]:
    return [(label, answer) for label, answer in answers if abs(label.angles[1]) < PROFILE]


def _figures(answers: Sequence[Judged]) -> dict[str, object]:
    signs = [mirror_errors(a.angles, b.angles, b.mirrored) for a, b in answers]
    return {
        "faces": len(answers),
        "pose_mae": _mean(_errors(answers)),
        **{f"{angle}_mae": _mean(_errors(answers)[:, k]) for k, angle in enumerate(ANGLES)},
        f"pose_mae_{PROFILE}": _mean(_errors(_moderate(answers))),
        f"faces_{PROFILE}": len(_moderate(answers)),
        "not_detected": sum(not answer.found for _, answer in answers),
        "mirrored": {
            "faces": sum(answer.mirrored is not None for _, answer in answers),
            "yaw_sign_wrong": sum("yaw" in names for names in signs),
            "roll_sign_wrong": sum("roll" in names for names in signs),
        },
    }


def _mean(errors: F64) -> float | None:
    return float(errors.mean()) if errors.size else None


def _tables(answers: Sequence[Judged]) -> tuple[Table, ...]:
    figures, moderate = _figures(answers), _moderate(answers)
    signs = sum(bool(mirror_errors(a.angles, b.angles, b.mirrored)) for a, b in answers)
    missed = figures["not_detected"]
    turned = f"turned by less than {PROFILE}°"
    short = (
        ("Off by", _degrees(_mean(_errors(answers))), f"mean of three angles, {len(answers):,}"),
        ("Off by", _degrees(_mean(_errors(moderate))), f"{len(moderate):,} {turned}"),
        ("Wrong side", f"{signs:,}", "of the picture or its mirror image, yaw or roll"),
        ("Not detected", f"{missed:,}", "judged on the labelled box, or a fainter face"),
    )
    rows = tuple(
        (name, len(group), *(_degrees(_mean(_errors(group)[:, k])) for k in range(len(ANGLES))))
        for name, group in (("all", answers), (turned, moderate))
    )
    return (
        Table("Pose", ("figure", "value", "on"), short),
        Table("By angle", ("", "faces", *ANGLES), rows),
    )


def _degrees(angle: float | None) -> str:
    return "–" if angle is None else f"{angle:.2f}°"


def _charts(answers: Sequence[Judged]) -> tuple[Scatter, ...]:
    true, said = _angles_of(answers)
    return tuple(
        Scatter(angle.capitalize(), "labelled, in °", "measured, in °", true[:, k], said[:, k])
        for k, angle in enumerate(ANGLES)
    )


def _wrong(answers: Sequence[Judged]) -> list[Wrong]:
    """Return everything, the worst first."""
    off = _errors(answers).mean(axis=1)
    order = np.argsort(-off, kind="stable").tolist()
    return [
        Wrong(
            answers[k][0].path,
            answers[k][1].box,
            f"{answers[k][0].path.name}: off by {off[k]:.1f}°; pitch, yaw, roll"
            f" {_triple(answers[k][0].angles)}, measured {_triple(answers[k][1].angles)}",
        )
        for k in order
    ]


def _triple(angles: F64) -> str:
    return ", ".join(f"{angle:.0f}" for angle in angles.tolist()).replace("-", "−")
