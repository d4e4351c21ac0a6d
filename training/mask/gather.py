"""Cut the labelled faces out of the pictures as the server would, and split them into parts.

    python training/mask/gather.py PICTURES FOLDER

PICTURES holds `labels.csv` and `images/`; FOLDER receives `faces.npz`. The server's own detector
finds each face; one that it misses is cut out by its labelled box, as it is judged.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from knownface.imaging import Decoder, ImageLimits, surroundings
from knownface.types import U8, Box, Face
from knownface.vision.catalog import Catalog
from knownface.vision.pipeline import Pipeline
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network

LABELS = ("without_mask", "with_mask", "mask_weared_incorrect")
PARTS = ("train", "selection", "validation")
# Of each twenty groups of pictures, the first so many are for validation, the next for selection.
VALIDATION, SELECTION, OF = 4, 3, 20
# A patch shows this many times the longer side of the box: room for turning and shifting.
PATCH, REACH = 192, 2.0
ALIKE = 0.95
# Training and selection together are what is cross-validated, in so many folds.
FOLDS = 4
# Labels that are wrong, for training only: what is taught instead, or nothing.
CORRECTIONS = Path(__file__).parent / "corrections.csv"


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row of labels.csv; `picture` is the photograph that the face was cut from."""

    file: str
    label: int
    source: str
    box: Box

    @property
    def picture(self) -> str:
        match = re.match(r"(maksssksksss\d+)_\d+\.\w+$", self.file)
        return match[1] if match else self.file


def read_labels(path: Path) -> list[Labelled]:
    """Return every labelled face."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            Labelled(
                row["file"],
                LABELS.index(row["label"]),
                row["source"],
                Box(*(float(row[k]) for k in ("x_min", "y_min", "x_max", "y_max")), 1.0),
            )
            for row in csv.DictReader(stream)
        ]


def open_pipeline(models: Path) -> Pipeline:
    """Return the server's pipeline on the installed weights."""
    catalog = Catalog.load(models)
    return Pipeline(
        catalog,
        Scheduler(1),
        detector="yunet",
        embedder="sface",
        max_detect_size=640,
        det_prob_threshold=0.5,
        open_network=lambda spec: Network(spec, catalog.path(spec), threads=1),
    )


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over the union of two boxes."""
    width = min(a.x_max, b.x_max) - max(a.x_min, b.x_min)
    height = min(a.y_max, b.y_max) - max(a.y_min, b.y_min)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.area + b.area - shared)


def best_match(faces: Sequence[Face], box: Box, least: float = 0.3) -> Face | None:
    """Return the detected face that overlaps a labelled box most, if one does."""
    best = max(faces, key=lambda face: overlap(face.box, box), default=None)
    return best if best and overlap(best.box, box) >= least else None


def thumbnails(patches: U8) -> np.ndarray:
    """Return a normalised tiny grey picture of each patch's middle, float32 [N, 256]."""
    grey = patches[:, 24:168, 24:168].mean(axis=3).reshape(-1, 16, 9, 16, 9).mean(axis=(2, 4))
    flat = grey.reshape(len(grey), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return (flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6)).astype(np.float32)


def groups(pictures: Sequence[str], patches: U8) -> list[str]:
    """Return for each face the name of its group: one picture, and pictures that look the same.

    A set collected from the web holds copies, mirrored ones too; they must share a part.
    """
    parent = {name: name for name in pictures}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    small = thumbnails(patches)
    mirrored = small.reshape(-1, 16, 16)[:, :, ::-1].reshape(len(small), -1)
    for other in (small, mirrored):
        for first, second in zip(*np.nonzero(small @ other.T > ALIKE), strict=True):
            a, b = root(pictures[first]), root(pictures[second])
            parent[max(a, b)] = min(a, b)
    return [root(name) for name in pictures]


def shuffled(faces: Sequence[Labelled], group: Sequence[str], salt: str) -> list[str]:
    """Return the names of the groups, those with the rarest labels first."""
    strata: dict[str, int] = {}
    for face, name in zip(faces, group, strict=True):
        rank = 0 if face.label == 2 else 1 if face.source.startswith("kaggle") else 2
        strata[name] = min(rank, strata.get(name, rank))
    digest = {name: hashlib.sha256((salt + name).encode()).digest() for name in strata}
    return sorted(strata, key=lambda name: (strata[name], digest[name]))


def parts(faces: Sequence[Labelled], group: Sequence[str]) -> dict[str, str]:
    """Return the part of each group; groups with a rare label are dealt out evenly."""
    dealt: dict[str, str] = {}
    for place, name in enumerate(shuffled(faces, group, "")):
        turn = place * 7 % OF
        late = turn < VALIDATION + SELECTION
        dealt[name] = PARTS[2] if turn < VALIDATION else PARTS[1] if late else PARTS[0]
    return dealt


def folds(faces: Sequence[Labelled], group: Sequence[str], part: dict[str, str]) -> dict[str, int]:
    """Return the fold of each group, -1 for those that are kept for validation."""
    pairs = [(f, g) for f, g in zip(faces, group, strict=True) if part[g] != "validation"]
    order = shuffled([face for face, _ in pairs], [name for _, name in pairs], "f")
    dealt = dict.fromkeys(group, -1)
    return dealt | {name: place % FOLDS for place, name in enumerate(order)}


def taught(faces: Sequence[Labelled]) -> list[int]:
    """Return the labels with the corrections, -1 for a face that is left out of the training."""
    with CORRECTIONS.open(encoding="utf-8", newline="") as stream:
        corrected = {row["file"]: row["label"] for row in csv.DictReader(stream)}
    labels = []
    for face in faces:
        label = corrected.get(face.file, LABELS[face.label])
        labels.append(LABELS.index(label) if label else -1)
    return labels


def cut(pipeline: Pipeline, folder: Path, faces: Sequence[Labelled]) -> Iterator[tuple[U8, ...]]:
    """Yield the patch around the judged box, the one around the label, and the points in it."""
    decoder = Decoder(ImageLimits())

    def one(face: Labelled) -> tuple[U8, ...]:
        image = decoder.decode((folder / "images" / face.file).read_bytes())
        found = best_match(pipeline.detect(image), face.box)
        box = found.box if found else face.box
        return (
            surroundings(image, box, REACH, PATCH),
            surroundings(image, face.box, REACH, PATCH),
            _points(found, box),
        )

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(one, faces)


def _points(found: Face | None, box: Box) -> np.ndarray:
    """Return the detector's five points in the patch, NaN where it missed the face."""
    if found is None or found.landmarks is None:
        return np.full((5, 2), np.nan, np.float32)
    side = REACH * max(box.width, box.height)
    corner = np.array([box.x_min + box.x_max - side, box.y_min + box.y_max - side]) / 2
    return ((found.landmarks - corner) * (PATCH / side)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path, default=Path("knownface-data/models"))
    arguments = parser.parse_args()
    faces = read_labels(arguments.pictures / "labels.csv")
    cuts = list(cut(open_pipeline(arguments.models), arguments.pictures, faces))
    judged, labelled, points = (np.stack(values) for values in zip(*cuts, strict=True))
    group = groups([face.picture for face in faces], judged)
    part = parts(faces, group)
    fold = folds(faces, group, part)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        arguments.folder / "faces.npz",
        judged=judged,
        labelled=labelled,
        points=points,
        label=[face.label for face in faces],
        taught=taught(faces),
        source=[face.source for face in faces],
        name=[face.file for face in faces],
        group=group,
        part=[part[name] for name in group],
        fold=[fold[name] for name in group],
        size=[min(face.box.width, face.box.height) for face in faces],
    )


if __name__ == "__main__":
    main()
