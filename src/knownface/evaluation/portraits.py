"""One face a picture, embedded: what verification, identification and calibration compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from knownface.evaluation.judging import UNREADABLE, Judge, padded
from knownface.evaluation.metrics import F64
from knownface.imaging import align, thumbnail
from knownface.types import F32, Calibration, Image
from knownface.vision.pipeline import CALCULATOR

THUMBNAIL: Final = 112
# So many scores are computed at a time: 16 MB.
BLOCK: Final = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A picture and its central face as a unit vector, float32 [D], with landmarks [5, 2].

    `vector` is None where no face is found, or where the picture cannot be read: then `trouble`
    says why. `landmarks` are those of the picture with `padding` around it.
    """

    path: Path
    vector: F32 | None = None
    landmarks: F32 | None = None
    trouble: str = ""
    padding: float = 0.0


def portraits(judge: Judge, paths: Sequence[Path], padding: float) -> dict[Path, Portrait]:
    """Look at every picture once, however often it occurs.

    `padding` is the share of its sides that is put around it in black, on each.
    """
    unique = list(dict.fromkeys(paths))
    seen = judge.map("looking at pictures", unique, partial(_portrait, judge, padding))
    return dict(zip(unique, seen, strict=True))


def crop(judge: Judge, portrait: Portrait) -> bytes:
    """Return a JPEG of the face as the embedder saw it, of the whole picture where there is none.

    Empty when the picture cannot be read any more.
    """
    try:
        image, _ = padded(judge.image(portrait.path), portrait.padding)
    except UNREADABLE:
        return b""
    if portrait.landmarks is not None:
        image = Image(align(image, portrait.landmarks))
    return thumbnail(image, THUMBNAIL)


def similarities(calibration: Calibration, cosines: F64) -> F64:
    """Return the similarities of many cosines at once; those of -inf are 0."""
    distances = np.sqrt(np.maximum(0.0, 2 - 2 * np.maximum(cosines, -1)))
    found = (np.tanh((calibration.c0 - distances) * calibration.c1) + 1) / 2
    return np.asarray(np.where(np.isneginf(cosines), 0.0, found), np.float64)


def _portrait(judge: Judge, padding: float, path: Path) -> Portrait:
    try:
        image, _ = padded(judge.image(path), padding)
    except UNREADABLE as error:
        return Portrait(path, trouble=error.message)
    face = judge.central_face(image)
    if face is None:
        return Portrait(path, padding=padding)
    face = judge.describe(image, face, (CALCULATOR,))
    vector = face.embedding.vector if face.embedding else None
    return Portrait(path, vector, face.landmarks, padding=padding)
