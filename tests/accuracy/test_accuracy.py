"""The default models on real pictures: the figures that the documentation states.

Run with `make accuracy`; the evaluation data is not shipped, and without it these tests skip.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

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


def test_the_default_threshold_finds_the_face_and_seldom_a_second_one(pipeline: Pipeline) -> None:
    """A missed face costs a person, a second one a refused enrolment: both, by threshold."""
    people = sorted(evaluation_folder("lfw-dev").glob("images/*/*.jpg"))
    folder = evaluation_folder("detect-dlib-faces")
    thresholds = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

    one_each = probabilities(pipeline, people)
    print("\nthreshold  LFW without a face  with a second  groups: found  missed  other boxes")
    shares = {}
    for threshold in thresholds:
        counts = np.array([sum(p > threshold for p in found) for found in one_each])
        shares[threshold] = (np.mean(counts == 0), np.mean(counts > 1))
        found, missed, others = groups(pipeline, folder, threshold)
        print(
            f"{threshold:9.2f}  {shares[threshold][0]:18.2%}  {shares[threshold][1]:13.2%}"
            f"  {found:13}  {missed:6}  {others:11}"
        )

    assert shares[0.8][0] == 0
    assert shares[0.8][1] < 0.2


def probabilities(pipeline: Pipeline, paths: list[Path]) -> list[list[float]]:
    def found(path: Path) -> list[float]:
        return [f.box.probability for f in pipeline.detect(read(path), 0.6)]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(found, paths))


def groups(pipeline: Pipeline, folder: Path, threshold: float) -> tuple[int, int, int]:
    """Return labelled faces found and missed, and boxes on none, in pictures of several people."""
    found = missed = others = 0
    for name in ("testing.xml", "training.xml"):
        for picture in ElementTree.parse(folder / name).iter("image"):  # noqa: S314 - our own file
            boxes = [
                f.box for f in pipeline.detect(read(folder / picture.attrib["file"]), threshold)
            ]
            hits = 0
            for label in picture.iter("box"):
                left, top = int(label.attrib["left"]), int(label.attrib["top"])
                x = left + int(label.attrib["width"]) / 2
                y = top + int(label.attrib["height"]) / 2
                hits += any(b.x_min < x < b.x_max and b.y_min < y < b.y_max for b in boxes)
                missed += not any(b.x_min < x < b.x_max and b.y_min < y < b.y_max for b in boxes)
            found += hits
            others += len(boxes) - hits
    return found, missed, others


def test_similarities_mean_these_false_match_rates(pipeline: Pipeline) -> None:
    """All pairs of different people in LFW: how many strangers reach a similarity."""
    folder = evaluation_folder("lfw-dev")
    paths = sorted(folder.glob("images/*/*.jpg"))
    faces = central_faces(pipeline, paths)
    vectors = np.stack([f.embedding.vector for f in faces if f and f.embedding])
    people = np.unique([p.parent.name for p in paths], return_inverse=True)[1]
    cosines = vectors @ vectors.T
    upper = np.triu(np.ones(cosines.shape, bool), 1)
    same = people[:, None] == people[None]
    strangers = np.sort(cosines[upper & ~same])[::-1]
    own = cosines[upper & same]
    print(f"\n{len(strangers)} pairs of strangers, {len(own)} pairs of one person")
    print("similarity  cosine  strangers at or above  own pairs below")
    for similarity in (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99):
        cosine = cosine_of(pipeline, similarity)
        rate = float(np.mean(strangers >= cosine))
        print(f"{similarity:10.2f}  {cosine:6.3f}  {rate:21.2e}  {np.mean(own < cosine):15.2%}")
    for rate in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        cosine = float(strangers[int(rate * len(strangers))])
        print(f"rate {rate:g}: similarity {pipeline.calibration.similarity(cosine):.3f}")

    assert np.mean(strangers >= cosine_of(pipeline, 0.5)) < 5e-3
    rates = pipeline.embedder.false_matches
    assert rates is not None
    for similarity, rate in rates.rows:
        measured = float(np.mean(strangers >= cosine_of(pipeline, similarity)))
        assert rate == pytest.approx(measured, rel=0.02), similarity
    for similarity in (0.35, 0.45, 0.55, 0.65, 0.775, 0.825, 0.875, 0.925):
        measured = float(np.mean(strangers >= cosine_of(pipeline, similarity)))
        assert rates.rate(similarity) == pytest.approx(measured, rel=0.06), similarity


def cosine_of(pipeline: Pipeline, similarity: float) -> float:
    calibration = pipeline.calibration
    distance = calibration.c0 - np.arctanh(2 * similarity - 1) / calibration.c1
    return float(1 - distance**2 / 2)
