"""`gender`: how the face looks to a network that knows two answers; no statement about a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from knownface.types import F32, Face, Image
from knownface.vision.chips import DlibModel
from knownface.vision.insightface import GENDERAGE, GenderAge
from knownface.vision.plugins import PluginContext, Run

DLIB: Final = "dlib-gender"

# In the order of the outputs of either family.
_VALUES: Final = ("female", "male")


class Gender:
    """The likelier of two appearances, with the probability that the network gives it."""

    slug = "gender"
    field = "gender"
    timed = True

    def __init__(self, context: PluginContext) -> None:
        spec = context.model(self.slug, DLIB, (DLIB, GENDERAGE))
        self._genderage = GenderAge(spec) if spec.family == GENDERAGE else None
        self._dlib = DlibModel(spec)
        self.models: tuple[str, ...] = (spec.name,)
        self.version = spec.version

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:
        rows = (
            [_softmax(row[:2]) for row in self._genderage(image, faces, run)]
            if self._genderage
            else self._dlib.probabilities(image, faces, run)
        )
        return [
            {"probability": float(row.max()), "value": _VALUES[int(row.argmax())]} for row in rows
        ]


def _softmax(row: F32) -> F32:
    """Return probabilities for what the network was trained to give before its softmax."""
    raised = np.exp(row - row.max())
    return np.asarray(raised / raised.sum(), np.float32)
