"""The mesh: 468 points of a face in three dimensions, from which pose and landmarks are read.

One run of the network a face serves every plugin of a request that asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from knownface.errors import ConfigurationError
from knownface.imaging import warp_smoothly
from knownface.types import F32, Box, Face, Image
from knownface.vision.plugins import PluginContext, Run
from knownface.vision.tensors import to_tensor

F64 = NDArray[np.float64]

MODEL: Final = "mesh"
POINTS: Final = 468

# The crop is so much larger than the longer side of the box: what the network was made for.
_MARGIN: Final = 1.35


class Mesher:
    """Runs the mesh network on a crop around each face, turned so that the eyes lie level."""

    def __init__(self, context: PluginContext) -> None:
        self.spec = context.catalog.spec(MODEL)
        if self.spec.size is None:
            raise ConfigurationError(f"The model {MODEL} needs a size.")
        self._size = self.spec.size[0]

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> list[F32 | None]:
        """Return each face's mesh, float32 [468, 3]; None for a face without landmarks.

        x and y are pixels of the picture; z has the same unit and grows away from the camera.
        """
        known = [face for face in faces if face.landmarks is not None]
        found = iter(run.once(MODEL, known, lambda some: self._meshes(image, some, run)))
        return [None if face.landmarks is None else next(found) for face in faces]

    def _meshes(self, image: Image, faces: Sequence[Face], run: Run) -> list[F32]:
        matrices = [_to_crop(face.box, _tilt(face.landmarks), self._size) for face in faces]
        crops = [warp_smoothly(image, matrix, self._size) for matrix in matrices]
        outputs = run(MODEL, [to_tensor(crop, self.spec) for crop in crops])
        return [
            _in_picture(points.reshape(POINTS, 3), matrix)
            for (points, *_), matrix in zip(outputs, matrices, strict=True)
        ]


def _tilt(landmarks: F32 | None) -> float:
    """Return the angle of the line through the eyes, in radians, 0 when they lie level."""
    if landmarks is None:
        return 0.0
    across = landmarks[1] - landmarks[0]
    return math.atan2(float(across[1]), float(across[0]))


def _to_crop(box: Box, tilt: float, size: int) -> F64:
    """Return the matrix [2, 3] that brings the picture to the crop around this box."""
    scale = size / (_MARGIN * max(box.width, box.height))
    cosine, sine = math.cos(tilt) * scale, math.sin(tilt) * scale
    linear = np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([(box.x_min + box.x_max) / 2, (box.y_min + box.y_max) / 2])
    return np.column_stack([linear, size / 2 - linear @ centre])


def _in_picture(points: F32, matrix: F64) -> F32:
    """Take points [N, 3] of the crop back to the picture; depth is only scaled."""
    inverse = np.linalg.inv(matrix[:, :2])
    scale = math.sqrt(abs(float(np.linalg.det(inverse))))
    flat = (points[:, :2] - matrix[:, 2]) @ inverse.T
    return np.column_stack([flat, points[:, 2] * scale]).astype(np.float32)
