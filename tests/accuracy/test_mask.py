"""The mask plugin on photographs that its network was neither trained nor chosen by."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from accuracy.protocol import default_pipeline, evaluation_folder, read
from knownface.types import Box, Face
from knownface.vision.pipeline import Pipeline
from knownface.vision.plugins.mask import VALUES

pytestmark = pytest.mark.accuracy

PARTS = Path(__file__).parents[2] / "training" / "mask" / "parts.csv"


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with default_pipeline() as opened:
        yield opened


def test_masks_are_told_from_faces_and_from_masks_worn_wrongly(pipeline: Pipeline) -> None:
    folder = evaluation_folder("mask-dev")
    with PARTS.open(encoding="utf-8", newline="") as stream:
        validation = {
            row["picture"] for row in csv.DictReader(stream) if row["part"] == "validation"
        }
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if photograph(row["file"]) in validation]

    with ThreadPoolExecutor(2) as pool:
        said, found = zip(*pool.map(lambda row: judged(pipeline, folder, row), rows), strict=True)
    true = np.array([VALUES.index(row["label"]) for row in rows])
    answers = np.array([VALUES.index(value) for value in said])
    recalls = [float(np.mean(answers[true == k] == k)) for k in range(3)]
    accuracy, balanced = float(np.mean(answers == true)), float(np.mean(recalls))
    masked = float(np.mean((answers > 0) == (true > 0)))
    print(f"\n{len(rows)} faces, {len(rows) - sum(found)} of them not found by the detector")
    print(f"  {accuracy:.2%} right, {balanced:.2%} balanced, mask or none {masked:.2%}")
    for k, value in enumerate(VALUES):
        row = ", ".join(f"{np.sum(answers[true == k] == j)} {VALUES[j]}" for j in range(3))
        print(f"  {value}: {np.sum(true == k)} faces, answered {row}")

    # What holds now. Aimed at are 96, 93 and 98.5 %; see docs/models/mask.md.
    assert accuracy >= 0.95
    assert balanced >= 0.84
    assert masked >= 0.97


def photograph(file: str) -> str:
    """Return the photograph that a face was cut from: the part goes by it."""
    match = re.match(r"(maksssksksss\d+)_\d+\.\w+$", file)
    return match[1] if match else file


def judged(pipeline: Pipeline, folder: Path, row: dict[str, str]) -> tuple[str, bool]:
    """Return the answer for a labelled face, and whether the detector found it.

    A face that it missed is judged on the labelled box.
    """
    image = read(folder / "images" / row["file"])
    left, top, right, bottom = (float(row[k]) for k in ("x_min", "y_min", "x_max", "y_max"))
    label = Box(left, top, right, bottom, 1.0)
    faces = [face for face in pipeline.detect(image) if overlap(face.box, label) >= 0.3]
    best = max(faces, key=lambda face: overlap(face.box, label), default=None)
    face = best or Face(label, landmarks=np.zeros((5, 2), np.float32))
    attribute = pipeline.describe(image, [face], ("mask",))[0].attributes["mask"]
    assert isinstance(attribute, dict)
    return str(attribute["value"]), best is not None


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over the union of two boxes."""
    width = min(a.x_max, b.x_max) - max(a.x_min, b.x_min)
    height = min(a.y_max, b.y_max) - max(a.y_min, b.y_min)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.area + b.area - shared)
