"""What the accuracy tests measure with: the pipeline on the default weights, and LFW's protocol."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pytest

from knownface.imaging import Decoder, ImageLimits
from knownface.types import F32, Face, Image
from knownface.vision.catalog import Catalog
from knownface.vision.pipeline import Pipeline
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network

EVALUATION: Final = Path(
    os.environ.get("KNOWNFACE_EVAL_DATA") or Path(__file__).parents[3] / "shared" / "data"
)


def evaluation_folder(name: str) -> Path:
    """Return a folder of the evaluation data, or skip: it may not be shipped."""
    folder = EVALUATION / name
    if not folder.is_dir():
        pytest.skip(f"no evaluation data {name}: set KNOWNFACE_EVAL_DATA to where it lies")
    return folder


def weights_folder() -> Path:
    """Return the folder of the default weights, or skip: somebody ran pytest without make."""
    folder = os.environ.get("KNOWNFACE_TEST_MODELS")
    if not folder:
        pytest.skip("no weights: `make test` installs them and sets KNOWNFACE_TEST_MODELS")
    return Path(folder)


@contextmanager
def default_pipeline(*, max_detect_size: int = 640) -> Iterator[Pipeline]:
    """Open the pipeline on YuNet and SFace with the default settings."""
    catalog = Catalog.load(weights_folder())
    scheduler = Scheduler(os.cpu_count() or 1)
    try:
        yield Pipeline(
            catalog,
            scheduler,
            detector="yunet",
            embedder="sface",
            max_detect_size=max_detect_size,
            det_prob_threshold=0.8,
            open_network=lambda spec: Network(spec, catalog.path(spec), threads=1),
        )
    finally:
        scheduler.close()


def read(path: Path) -> Image:
    """Decode a picture as the server does, without its limit of bytes."""
    return Decoder(ImageLimits(max_bytes=1 << 30)).decode(path.read_bytes())


def central_faces(pipeline: Pipeline, paths: Sequence[Path]) -> list[Face | None]:
    """Return the embedded face nearest to each picture's middle, None where there is none."""

    def face(path: Path) -> Face | None:
        image = read(path)
        found = pipeline.detect(image)
        if not found:
            return None
        return pipeline.describe(image, [nearest(image, found)], ("calculator",))[0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(face, paths))


def nearest(image: Image, faces: Sequence[Face]) -> Face:
    """LFW labels the person in the middle; others may be larger."""
    x, y = image.width / 2, image.height / 2

    def distance(face: Face) -> float:
        box = face.box
        return abs((box.x_min + box.x_max) / 2 - x) + abs((box.y_min + box.y_max) / 2 - y)

    return min(faces, key=distance)


class Pair(NamedTuple):
    fold: int
    first: str
    second: str
    same: bool


def read_pairs(path: Path) -> list[Pair]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            Pair(int(row["fold"]), row["file_a"], row["file_b"], row["same"] == "1")
            for row in csv.DictReader(stream)
        ]


def fold_accuracy(scores: F32, same: np.ndarray, folds: np.ndarray) -> tuple[float, float]:
    """Return mean and spread of the accuracy per fold, its threshold chosen on the others."""
    accuracies = []
    for fold in np.unique(folds):
        threshold = best_threshold(scores[folds != fold], same[folds != fold])
        accuracies.append(np.mean((scores[folds == fold] > threshold) == same[folds == fold]))
    return float(np.mean(accuracies)), float(np.std(accuracies))


def best_threshold(scores: F32, same: np.ndarray) -> float:
    order = np.argsort(scores)
    ranked = same[order]
    right = np.cumsum(~ranked) + (ranked.sum() - np.cumsum(ranked))
    best = int(np.argmax(right))
    return float(scores[order[best : best + 2]].mean())


def true_accept_rate(scores: F32, same: np.ndarray, false_accept_rate: float) -> float:
    """Return the share of same pairs above the score that this share of others exceeds."""
    others = np.sort(scores[~same])[::-1]
    return float(np.mean(scores[same] > others[int(false_accept_rate * len(others))]))
