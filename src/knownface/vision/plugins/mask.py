"""`mask`: whether a face wears a mask, and whether it covers nose, mouth and chin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from knownface.errors import ConfigurationError
from knownface.imaging import surroundings
from knownface.types import F32, Box, Face, Image
from knownface.vision.plugins import PluginContext, Run

MODEL: Final = "mask"
# The answers in the order of the network's output, spelt as CompreFace spells them.
VALUES: Final = ("without_mask", "with_mask", "mask_weared_incorrect")
# The network was trained on squares that show so many times the longer side of the box.
REACH: Final = 1.35


class Mask:
    """{probability, value} of each detected face; a picture that is one face has no box to trust.

    The network takes RGB 0..255 float32 [3, S, S] and answers the probability of each value.
    """

    slug = "mask"
    field = "mask"
    timed = True

    def __init__(self, context: PluginContext) -> None:
        spec = context.catalog.spec(MODEL)
        if spec.size is None:
            raise ConfigurationError(f"The model {spec.name} needs a size.")
        self._size = spec.size[0]
        self.models: tuple[str, ...] = (spec.name,)
        self.version = spec.version

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:
        tensors = [self.prepare(image, f.box) for f in faces if f.landmarks is not None]
        answers = iter(run(self.models[0], tensors))
        return [None if f.landmarks is None else _answer(next(answers)[0]) for f in faces]

    def prepare(self, image: Image, box: Box) -> F32:
        """Return the network's input for a face with this box, float32 [3, S, S]."""
        crop = surroundings(image, box, REACH, self._size)
        return np.ascontiguousarray(crop.transpose(2, 0, 1), dtype=np.float32)


def _answer(output: F32) -> dict[str, object]:
    probabilities = output.reshape(-1)
    best = int(probabilities.argmax())
    return {"probability": round(float(probabilities[best]), 5), "value": VALUES[best]}
