"""`landmarks2d106`: 106 points in the order of InsightFace, by its network or off the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from knownface.types import F32, Face, Image
from knownface.vision.insightface import LANDMARKS, Landmarker
from knownface.vision.mesh import MODEL, Mesher
from knownface.vision.plugins import PluginContext, Run


class Landmarks106:
    """106 [x, y] pairs, whole pixels inside the picture, instead of the five of `landmarks`.

    Those of the mesh are approximate: only 68 have a known counterpart in it, the others are chosen
    to look alike.
    """

    slug = "landmarks2d106"
    field = "landmarks"
    timed = True

    def __init__(self, context: PluginContext) -> None:
        spec = context.model(self.slug, MODEL, (MODEL, LANDMARKS))
        self._landmarker = Landmarker(spec) if spec.family == LANDMARKS else None
        self._mesher = Mesher(context)
        self._vertices = _vertices()
        self.models: tuple[str, ...] = (spec.name,)
        self.version = spec.version

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:
        edge = (image.width - 1, image.height - 1)
        found = self._points(image, faces, run)
        return [
            None if points is None else np.clip(points, 0, edge).astype(np.int64).tolist()
            for points in found
        ]

    def _points(self, image: Image, faces: Sequence[Face], run: Run) -> list[F32 | None]:
        if self._landmarker:
            return self._landmarker(image, faces, run)
        meshes = self._mesher(image, faces, run)
        return [
            None if mesh is None else np.asarray(mesh[self._vertices, :2].mean(axis=1), np.float32)
            for mesh in meshes
        ]


def _vertices() -> NDArray[np.int64]:
    """Return the two vertices of the mesh in whose middle each landmark lies, [106, 2]."""
    path = resources.files("knownface.vision").joinpath("data", "landmarks106.csv")
    with path.open(encoding="ascii") as stream:
        return np.loadtxt(stream, np.int64, delimiter=",", usecols=(1, 2))
