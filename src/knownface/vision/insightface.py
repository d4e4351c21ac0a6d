"""InsightFace's small networks: age and sex in one, and 106 landmarks.

Both see a square around the box that shows 1.5 times its longer side, not turned, and black where
the picture ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from knownface.errors import ConfigurationError
from knownface.imaging import resize, warp
from knownface.types import F32, U8, Box, Face, Image
from knownface.vision.catalog import ModelSpec
from knownface.vision.plugins import Run
from knownface.vision.tensors import to_tensor

GENDERAGE: Final = "genderage"
LANDMARKS: Final = "2d106det"

_REACH: Final = 1.5

F64 = NDArray[np.float64]


class GenderAge:
    """The network `genderage`: [female, male, age / 100] of a face; one run serves both plugins."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._size = square_of(spec)

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> list[F32]:
        """Return the three numbers of each face; without landmarks the picture is the crop."""
        return run.once(self.spec.name, faces, lambda some: self._answers(image, some, run))

    def _answers(self, image: Image, faces: Sequence[Face], run: Run) -> list[F32]:
        tensors = [to_tensor(self._crop(image, face), self.spec) for face in faces]
        return [outputs[0].reshape(-1) for outputs in run(self.spec.name, tensors)]

    def _crop(self, image: Image, face: Face) -> U8:
        if face.landmarks is None:
            return resize(image, self._size, self._size).pixels
        return warp(image, to_crop(face.box, self._size), self._size)


class Landmarker:
    """The network `2d106det`: 106 points of a face, in picture pixels."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._size = square_of(spec)

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> list[F32 | None]:
        """Return float32 [106, 2] for each face; None for one without landmarks of its own."""
        known = [face for face in faces if face.landmarks is not None]
        found = iter(self._points(image, known, run))
        return [None if face.landmarks is None else next(found) for face in faces]

    def _points(self, image: Image, faces: Sequence[Face], run: Run) -> list[F32]:
        matrices = [to_crop(face.box, self._size) for face in faces]
        tensors = [to_tensor(warp(image, m, self._size), self.spec) for m in matrices]
        answers = run(self.spec.name, tensors)
        return [
            self._in_picture(outputs[0].reshape(-1, 2), matrix)
            for outputs, matrix in zip(answers, matrices, strict=True)
        ]

    def _in_picture(self, points: F32, matrix: F64) -> F32:
        in_crop = (points.astype(np.float64) + 1) * (self._size // 2)
        return np.asarray((in_crop - matrix[:, 2]) / matrix[0, 0], np.float32)


def to_crop(box: Box, size: int) -> F64:
    """Return the matrix [2, 3] that brings the picture to the square around this box."""
    scale = size / (_REACH * max(box.width, box.height))
    centre = np.array([(box.x_min + box.x_max) / 2, (box.y_min + box.y_max) / 2])
    return np.column_stack([np.eye(2) * scale, size / 2 - centre * scale])


def square_of(spec: ModelSpec) -> int:
    """Return the side of the square input; ConfigurationError where the description lacks it."""
    if spec.size is None or spec.size[0] != spec.size[1]:
        raise ConfigurationError(f"The model {spec.name} needs a size, width equal to height.")
    return spec.size[0]
