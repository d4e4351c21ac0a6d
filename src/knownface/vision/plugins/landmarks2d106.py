"""`landmarks2d106`: 106 points in the order of InsightFace, read off the mesh; approximate."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from knownface.types import F32, Face, Image
from knownface.vision.mesh import MODEL, Mesher
from knownface.vision.plugins import PluginContext, Run


class Landmarks106:
    """106 [x, y] pairs, whole pixels inside the picture, instead of the five of `landmarks`.

    Only 68 of them have a known counterpart in the mesh; the others are chosen to look alike.
    """

    slug = "landmarks2d106"
    field = "landmarks"
    timed = False
    models: tuple[str, ...] = (MODEL,)

    def __init__(self, context: PluginContext) -> None:
        self._mesher = Mesher(context)
        self._vertices = _vertices()
        self.version = self._mesher.spec.version

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:
        edge = (image.width - 1, image.height - 1)
        meshes = self._mesher(image, faces, run)
        return [None if mesh is None else self._points(mesh, edge) for mesh in meshes]

    def _points(self, mesh: F32, edge: tuple[int, int]) -> list[list[int]]:
        points = mesh[self._vertices, :2].mean(axis=1)
        whole: list[list[int]] = np.clip(points, 0, edge).astype(np.int64).tolist()
        return whole


def _vertices() -> NDArray[np.int64]:
    """Return the two vertices of the mesh in whose middle each landmark lies, [106, 2]."""
    path = resources.files("knownface.vision").joinpath("data", "landmarks106.csv")
    with path.open(encoding="ascii") as stream:
        return np.loadtxt(stream, np.int64, delimiter=",", usecols=(1, 2))
