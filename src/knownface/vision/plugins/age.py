"""`age`: how old the face looks, as a range of years."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from knownface.types import F32, Face, Image
from knownface.vision.chips import DlibModel
from knownface.vision.insightface import GENDERAGE, GenderAge
from knownface.vision.plugins import PluginContext, Run

DLIB: Final = "dlib-age"
OLDEST: Final = 80

# The age that each answer of the network stands for; its last one means 80 or more.
_YEARS: Final = np.array([0.25, *range(1, OLDEST + 1)])
# The network is surer than it is right: it gives nine tenths to ranges that hold half of the ages.
# Its probabilities to this power, made to sum to one again, say more than that and no worse.
_SOFTENING: Final = 1 / 1.5


class Age:
    """The expected age, give or take one standard deviation, and how probable that range is.

    All three follow from the network's probability of each year, softened; docs/accuracy.md says
    how often the range is right. A model of the family genderage names one year alone.
    """

    slug = "age"
    field = "age"
    timed = True

    def __init__(self, context: PluginContext) -> None:
        spec = context.model(self.slug, DLIB, (DLIB, GENDERAGE))
        self._genderage = GenderAge(spec) if spec.family == GENDERAGE else None
        self._dlib = DlibModel(spec)
        self.models: tuple[str, ...] = (spec.name,)
        self.version = spec.version

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[object]:
        if self._genderage:
            return [age_of_one_number(row) for row in self._genderage(image, faces, run)]
        return [age_range(row) for row in self._dlib.probabilities(image, faces, run)]


def age_range(probabilities: F32) -> dict[str, float]:
    """Return the range of years for the probabilities, [81], of each of them."""
    softened = probabilities.astype(np.float64) ** _SOFTENING
    softened /= softened.sum()
    expected = float(softened @ _YEARS)
    spread = float(np.sqrt(softened @ (_YEARS - expected) ** 2))
    low, high = max(0, round(expected - spread)), min(OLDEST, round(expected + spread))
    return {"probability": float(softened[low : high + 1].sum()), "high": high, "low": low}


def age_of_one_number(row: F32) -> dict[str, float]:
    """Return the year that a `genderage` network names, as CompreFace does with such a network.

    The network does not say how sure it is: the probability of 1 means only that it named no other.
    """
    year = max(0, round(float(row[2]) * 100))
    return {"probability": 1.0, "high": year, "low": year}
