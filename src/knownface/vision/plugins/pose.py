"""`pose`: where the head is turned, in degrees and in the signs of CompreFace."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Final

import numpy as np

from knownface.types import F32, Face, Image
from knownface.vision.mesh import F64, MODEL, Mesher
from knownface.vision.plugins import PluginContext, Run

# The network flattens faces: this much deeper they turn as they do in the pictures.
_DEPTH: Final = 1.2
# Puts the zero of pitch where AFLW's labels have it; a passport photograph then reads about -4.
_PITCH_OFFSET: Final = 3.5


class Pose:
    """The rotation that lays the mean of frontal meshes onto the face's own mesh.

    yaw > 0: the nose points to the left of the picture; pitch > 0: the face looks up; roll > 0: the
    head is turned counter-clockwise in the picture.
    """

    slug = "pose"
    field = "pose"
    timed = True
    models: tuple[str, ...] = (MODEL,)

    def __init__(self, context: PluginContext) -> None:
        self._mesher = Mesher(context)
        self._frontal = _centred(_mean_mesh())
        self.version = self._mesher.spec.version

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:
        meshes = self._mesher(image, faces, run)
        return [None if mesh is None else self._angles(mesh) for mesh in meshes]

    def _angles(self, mesh: F32) -> dict[str, float]:
        deep = _centred(mesh.astype(np.float64) * (1.0, 1.0, _DEPTH))
        u, _, vt = np.linalg.svd(deep.T @ self._frontal)
        mirrored = np.sign(np.linalg.det(u @ vt))
        rotation = (u * (1.0, 1.0, mirrored)) @ vt
        pitch = np.arctan2(rotation[2, 1], rotation[2, 2])
        yaw = np.arcsin(np.clip(-rotation[2, 0], -1.0, 1.0))
        roll = np.arctan2(rotation[1, 0], rotation[0, 0])
        return {
            "pitch": float(np.degrees(-pitch)) + _PITCH_OFFSET,
            "roll": float(np.degrees(-roll)),
            "yaw": float(np.degrees(yaw)),
        }


def _centred(points: F64) -> F64:
    return np.asarray(points - points.mean(axis=0), np.float64)


def _mean_mesh() -> F64:
    path = resources.files("knownface.vision").joinpath("data", "frontal_mesh.csv")
    with path.open(encoding="ascii") as stream:
        return np.loadtxt(stream, delimiter=",", ndmin=2)
