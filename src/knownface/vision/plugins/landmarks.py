"""`landmarks`: the detector's five points, which cost nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from knownface.types import Face, Image
from knownface.vision.plugins import PluginContext, Run


class Landmarks:
    """Five [x, y] pairs, whole pixels inside the picture, in the order of `Face.landmarks`."""

    slug = "landmarks"
    field = "landmarks"
    version = "detector.Landmarks"
    timed = False
    models: tuple[str, ...] = ()

    def __init__(self, context: PluginContext) -> None:
        """Take the context as every plugin does, though this one runs no model of its own."""

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:  # noqa: ARG002 - the plugin's signature
        edge = (image.width - 1, image.height - 1)
        return [
            None
            if face.landmarks is None
            else np.clip(face.landmarks, 0, edge).astype(np.int64).tolist()
            for face in faces
        ]
