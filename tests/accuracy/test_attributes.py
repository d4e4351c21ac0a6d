"""Age, gender and pose on real photographs: the figures that the documentation states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
import pytest

from accuracy.protocol import default_judge, default_pipeline, evaluation_folder, read, show
from knownface.evaluation import age_gender, pose
from knownface.evaluation.judging import Judge
from knownface.types import Face
from knownface.vision.pipeline import Pipeline

pytestmark = pytest.mark.accuracy

# UTKFace's crops end at the face, and detectors want to see what is around one.
PADDING: Final = 0.4


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with default_pipeline() as opened:
        yield opened


@pytest.fixture(scope="module")
def judge(pipeline: Pipeline) -> Judge:
    return default_judge(pipeline)


def test_age_and_gender_of_adults(judge: Judge) -> None:
    folder = evaluation_folder("utkface-dev")

    found = age_gender.evaluate(folder / "labels.csv", folder / "images", judge, padding=PADDING)

    show(found)
    told: Any = found.figures
    assert found.problems == ()
    assert told["not_detected"] <= told["faces"] // 100
    assert told["gender_accuracy_15"] >= 0.95
    assert told["age_mae_15"] <= 8


def test_pose(judge: Judge) -> None:
    folder = evaluation_folder("pose-aflw2000-prnet")

    found = pose.evaluate(folder / "pose.csv", folder, judge)

    show(found)
    told: Any = found.figures
    assert (found.problems, told["not_detected"]) == ((), 0)
    assert told["pose_mae"] <= 6
    assert told["pose_mae_50"] <= 4.5
    # A mirrored head is turned to the other side.
    assert told["mirrored"] == {"faces": 16, "yaw_sign_wrong": 0, "roll_sign_wrong": 0}


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
