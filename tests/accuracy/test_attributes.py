"""Age, gender and pose on real photographs: the figures that the documentation states."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
import pytest

from accuracy.protocol import default_pipeline, evaluation_folder, nearest, read
from knownface.types import Face, Image
from knownface.vision.pipeline import Pipeline

pytestmark = pytest.mark.accuracy

# UTKFace's crops end at the face, and detectors want to see what is around one.
PADDING: Final = 0.4
DECADES: Final = (0, 3, 10, 15, 20, 30, 40, 50, 60, 70, 80, 120)
ADULT: Final = 15


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with default_pipeline() as opened:
        yield opened


@dataclass(frozen=True)
class Person:
    """What UTKFace says of a face, and what was found."""

    age: int
    gender: str
    race: str
    low: int
    high: int
    probability: float
    found_gender: str

    @property
    def off(self) -> float:
        return (self.low + self.high) / 2 - self.age

    @property
    def right(self) -> bool:
        return self.gender == self.found_gender

    @property
    def held(self) -> bool:
        """Whether the range holds the age; its end at 80 stands for all that is older."""
        return self.low <= min(self.age, 80) <= self.high


def people(pipeline: Pipeline) -> tuple[list[Person], int]:
    """Return everybody in whose picture a face is found, and how many are missed."""
    folder = evaluation_folder("utkface-dev")
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))

    def look(row: dict[str, str]) -> Person | None:
        image = padded(read(folder / "images" / row["file"]))
        found = pipeline.detect(image)
        if not found:
            return None
        (face,) = pipeline.describe(image, [nearest(image, found)], ("age", "gender"))
        age: Any = face.attributes["age"]
        gender: Any = face.attributes["gender"]
        return Person(
            age=int(row["age"]),
            gender=row["gender"],
            race=row["race"],
            found_gender=gender["value"],
            **age,
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = list(pool.map(look, rows))
    return [person for person in seen if person], seen.count(None)


def padded(image: Image) -> Image:
    height, width = (int(side * PADDING) for side in image.pixels.shape[:2])
    return Image(np.pad(image.pixels, ((height, height), (width, width), (0, 0))))


def test_age_and_gender_of_adults(pipeline: Pipeline) -> None:
    everybody, missed = people(pipeline)
    adults = [person for person in everybody if person.age >= ADULT]
    print(f"\nUTKFace, {len(everybody)} faces, {missed} without one, {len(adults)} aged 15 or more")
    tell("all", everybody)
    tell("15 or more", adults)
    for first, after in pairwise(DECADES):
        tell(f"{first} to {after - 1}", [p for p in everybody if first <= p.age < after])
    for race in sorted({person.race for person in adults}):
        tell(f"15 or more, {race}", [p for p in adults if p.race == race])
    for gender in ("female", "male"):
        tell(f"15 or more, {gender}", [p for p in adults if p.gender == gender])

    assert missed <= len(everybody) // 100
    assert np.mean([person.right for person in adults]) >= 0.95
    assert np.mean([abs(person.off) for person in adults]) <= 8


def tell(name: str, group: Sequence[Person]) -> None:
    off = np.array([person.off for person in group])
    print(
        f"  {name:20} {len(group):5}"
        f"  age off by {np.abs(off).mean():5.2f} (mean {off.mean():+6.2f})"
        f"  range of {np.mean([p.high - p.low for p in group]):4.1f} years,"
        f" said to hold {np.mean([p.probability for p in group]):.0%},"
        f" holds {np.mean([p.held for p in group]):.0%}"
        f"  gender {np.mean([p.right for p in group]):.2%}"
    )


def poses() -> list[tuple[Path, np.ndarray]]:
    """Return each picture with its pitch, yaw and roll, in CompreFace's signs."""
    folder = evaluation_folder("pose-aflw2000-prnet")
    with (folder / "pose.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = ("pitch_deg", "yaw_deg", "roll_deg")
    # AFLW counts a roll the other way round.
    return [
        (next(folder.rglob(row["file"])), np.array([float(row[n]) for n in names]) * (1, 1, -1))
        for row in rows
    ]


def pose_of(pipeline: Pipeline, image: Image) -> np.ndarray:
    face = nearest(image, pipeline.detect(image, 0.5))
    found: Any = pipeline.describe(image, [face], ("pose",))[0].attributes["pose"]
    return np.array([found["pitch"], found["yaw"], found["roll"]])


def test_pose(pipeline: Pipeline) -> None:
    labelled = poses()
    angles = np.array([angle for _, angle in labelled])
    errors = np.abs(np.array([pose_of(pipeline, read(path)) for path, _ in labelled]) - angles)
    moderate = errors[np.abs(angles[:, 1]) < 50]
    print(f"\nAFLW2000, {len(labelled)} pictures: pitch, yaw, roll off by")
    for name, group in (("all", errors), ("|yaw| < 50", moderate)):
        pitch, yaw, roll = group.mean(axis=0)
        mean = group.mean()
        print(f"  {name:10} {len(group):3}  {pitch:.2f} {yaw:.2f} {roll:.2f}, mean {mean:.2f}")

    assert errors.mean() <= 6
    assert moderate.mean() <= 4.5


def test_a_mirrored_head_is_turned_to_the_other_side(pipeline: Pipeline) -> None:
    for path, (_, yaw, roll) in poses():
        image = read(path)
        mirrored = Image(np.ascontiguousarray(image.pixels[:, ::-1]))
        found, other = pose_of(pipeline, image), pose_of(pipeline, mirrored)
        if abs(yaw) > 10:
            assert np.sign(found[1]) == np.sign(yaw), path.name
            assert np.sign(other[1]) == -np.sign(yaw), path.name
        if abs(roll) > 10 and abs(yaw) < 50:
            assert np.sign(found[2]) == np.sign(roll), path.name
            assert np.sign(other[2]) == -np.sign(roll), path.name


# Our 106 landmarks that are points of iBUG's 68, which the labels have: both eyes' corners, the
# tip of the nose, both corners of the mouth, the chin.
KNOWN: Final = {36: 35, 39: 39, 42: 89, 45: 93, 30: 86, 48: 52, 54: 61, 8: 0}


def test_landmarks_lie_on_labelled_points(pipeline: Pipeline) -> None:
    """Those of the 106 that have a labelled counterpart; the share is of the eyes' distance."""
    folder = evaluation_folder("detect-dlib-faces")
    offs: list[np.ndarray] = []
    for name in ("testing_with_face_landmarks.xml", "training_with_face_landmarks.xml"):
        for picture in ElementTree.parse(folder / name).iter("image"):  # noqa: S314 - our own file
            image = read(folder / picture.attrib["file"])
            faces = pipeline.describe(image, pipeline.detect(image, 0.5), ("landmarks2d106",))
            for label in picture.iter("box"):
                points = {
                    int(part.attrib["name"]): (int(part.attrib["x"]), int(part.attrib["y"]))
                    for part in label.iter("part")
                }
                if face := within(points[30], faces):
                    offs.append(off(face, points))
    shares = zip(KNOWN.values(), np.mean(offs, axis=0), strict=True)
    print(f"\n{len(offs)} faces with 68 labelled points, off by (share of the outer eye distance)")
    print("  " + ", ".join(f"{ours}: {share:.1%}" for ours, share in shares))

    assert np.mean(offs) < 0.1


def within(point: tuple[int, int], faces: Sequence[Face]) -> Face | None:
    x, y = point
    boxes = ((f, f.box) for f in faces)
    return next((f for f, b in boxes if b.x_min < x < b.x_max and b.y_min < y < b.y_max), None)


def off(face: Face, points: dict[int, tuple[int, int]]) -> np.ndarray:
    found = np.array(face.attributes["landmarks2d106"], float)[list(KNOWN.values())]
    labelled = np.array([points[number] for number in KNOWN], float)
    eyes = np.hypot(*np.subtract(points[36], points[45]))
    return np.asarray(np.hypot(*(found - labelled).T) / eyes)
