"""The default models on real pictures: the figures that the documentation states.

Run with `make accuracy`; the evaluation data is not shipped, and without it these tests skip.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from accuracy.protocol import (
    central_faces,
    default_pipeline,
    evaluation_folder,
    fold_accuracy,
    read,
    read_pairs,
    true_accept_rate,
)
from knownface.types import Face
from knownface.vision.pipeline import Pipeline

pytestmark = pytest.mark.accuracy


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with default_pipeline() as opened:
        yield opened


def test_lfw_pairs_are_told_apart(pipeline: Pipeline) -> None:
    folder = evaluation_folder("lfw-dev")
    pairs = read_pairs(folder / "pairs.csv")
    names = sorted({name for pair in pairs for name in (pair.first, pair.second)})

    faces = central_faces(pipeline, [folder / "images" / name for name in names])
    missed = [name for name, face in zip(names, faces, strict=True) if face is None]
    vectors = {
        name: face.embedding.vector
        for name, face in zip(names, faces, strict=True)
        if face and face.embedding
    }
    scores = np.array([vectors[p.first] @ vectors[p.second] for p in pairs], np.float32)
    same = np.array([pair.same for pair in pairs])
    folds = np.array([pair.fold for pair in pairs])
    accuracy, spread = fold_accuracy(scores, same, folds)
    rates = {far: true_accept_rate(scores, same, far) for far in (1e-2, 1e-3)}
    print(f"\nLFW, {len(pairs)} pairs, {len(names)} pictures, {len(missed)} without a face")
    print(f"  accuracy {accuracy:.2%} +- {spread:.2%}")
    print("  " + ", ".join(f"TAR {rate:.2%} at FAR {far:g}" for far, rate in rates.items()))

    assert missed == []
    assert accuracy >= 0.993
    assert rates[1e-3] >= 0.985


def annotated_samples() -> tuple[Path, dict[str, list[tuple[int, int]]]]:
    folder = evaluation_folder("compreface-samples")
    annotations = json.loads((folder / "annotations.json").read_text("utf-8"))
    return folder, {n: [(x, y) for x, y in p] for n, p in annotations["noses"].items()}


def test_every_annotated_nose_has_a_box_of_its_own(pipeline: Pipeline) -> None:
    folder, noses = annotated_samples()

    wrong, extra = {}, 0
    for name, points in noses.items():
        faces = pipeline.detect(read(folder / name))
        if not each_has_its_own(points, faces):
            wrong[name] = (points, [face.box for face in faces])
        extra += max(0, len(faces) - len(points))
    print(f"\n{sum(map(len, noses.values()))} noses in {len(noses)} pictures, {extra} boxes more")

    assert wrong == {}


def each_has_its_own(points: list[tuple[int, int]], faces: list[Face]) -> bool:
    """Find a perfect matching of noses and boxes; a nose may lie in a neighbour's box, too."""
    inside = [
        [
            i
            for i, f in enumerate(faces)
            if f.box.x_min <= x <= f.box.x_max and f.box.y_min <= y <= f.box.y_max
        ]
        for x, y in points
    ]
    taken: dict[int, int] = {}

    def place(nose: int, seen: set[int]) -> bool:
        for box in inside[nose]:
            if box not in seen:
                seen.add(box)
                if box not in taken or place(taken[box], seen):
                    taken[box] = nose
                    return True
        return False

    return all(place(nose, set()) for nose in range(len(points)))


def test_the_picture_without_a_face_has_none(pipeline: Pipeline) -> None:
    folder, _ = annotated_samples()

    assert pipeline.detect(read(folder / "017_0.jpg")) == []


def test_one_similarity_separates_three_people(pipeline: Pipeline) -> None:
    folder, _ = annotated_samples()
    names = sorted(path.name for path in folder.glob("*_[ABC].jpg"))
    faces = central_faces(pipeline, [folder / name for name in names])
    vectors = np.stack([f.embedding.vector for f in faces if f and f.embedding])
    assert len(vectors) == len(names)

    for i, first in enumerate(names):
        for j, second in enumerate(names[:i]):
            similarity = pipeline.calibration.similarity(float(vectors[i] @ vectors[j]))
            same = first.split("_")[1] == second.split("_")[1]
            assert (similarity > 0.5) == same, (first, second, similarity)
