"""`mask`: whether a face wears a mask, and whether it covers nose, mouth and chin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from knownface.errors import ConfigurationError
from knownface.imaging import surroundings
from knownface.types import F32, Box, Face, Image
from knownface.vision.catalog import ModelSpec
from knownface.vision.plugins import PluginContext, Run
from knownface.vision.tensors import to_tensor

MODEL: Final = "mask"
# The answers in the order of our network's output, spelt as CompreFace spells them.
VALUES: Final = ("without_mask", "with_mask", "mask_weared_incorrect")
# The network was trained on squares that show so many times the longer side of the box.
REACH: Final = 1.2


class Mask:
    """{probability, value} of each detected face; a picture that is one face has no box to trust.

    The network takes float32 [3, S, S] and answers the probability of each value.
    """

    slug = "mask"
    field = "mask"
    timed = True

    def __init__(self, context: PluginContext) -> None:
        spec = context.model(self.slug, MODEL, (MODEL,))
        if spec.size is None:
            raise ConfigurationError(f"The model {spec.name} needs a size.")
        self._spec = spec
        self._size = spec.size[0]
        self._values = _values(spec)
        self.models: tuple[str, ...] = (spec.name,)
        self.version = spec.version

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:
        tensors = [self.prepare(image, f.box) for f in faces if f.landmarks is not None]
        answers = iter(run(self.models[0], tensors))
        return [
            None if f.landmarks is None else _answer(next(answers)[0], self._values) for f in faces
        ]

    def prepare(self, image: Image, box: Box) -> F32:
        """Return the network's input for a face with this box, float32 [3, S, S]."""
        return to_tensor(surroundings(image, box, REACH, self._size), self._spec)


def _values(spec: ModelSpec) -> tuple[str, ...]:
    """Return what each output stands for; a network of one's own may know two of them only."""
    values = spec.answers or VALUES
    if len(set(values)) != len(values) or not set(values) <= set(VALUES) or len(values) < 2:
        raise ConfigurationError(
            f"The model {spec.name}: answers has to name, once each, {', '.join(VALUES)}, "
            "or two of them."
        )
    return values


def _answer(output: F32, values: tuple[str, ...]) -> dict[str, object]:
    probabilities = output.reshape(-1)
    best = int(probabilities.argmax())
    return {"probability": round(float(probabilities[best]), 5), "value": values[best]}
