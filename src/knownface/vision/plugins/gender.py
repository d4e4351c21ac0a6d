"""`gender`: how the face looks to a network that knows two answers; no statement about a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from knownface.types import Face, Image
from knownface.vision.chips import DlibModel
from knownface.vision.plugins import PluginContext, Run

_VALUES: Final = ("female", "male")


class Gender:
    """The likelier of two appearances, with the probability that the network gives it."""

    slug = "gender"
    field = "gender"
    timed = True

    def __init__(self, context: PluginContext) -> None:
        self._model = DlibModel(context.catalog.spec("dlib-gender"))
        self.models: tuple[str, ...] = (self._model.spec.name,)
        self.version = self._model.spec.version

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:
        rows = self._model.probabilities(image, faces, run)
        return [
            {"probability": float(row.max()), "value": _VALUES[int(row.argmax())]} for row in rows
        ]
