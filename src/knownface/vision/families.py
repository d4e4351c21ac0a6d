"""The families of models: which there are, and what a file of each has to look like.

A family is the code that feeds a network and reads its outputs. This module only knows the names
and the shapes, so that a description can be refused before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

# A plugin that comes as a package of its own reads its models itself.
OTHER: Final = "other"
KNOWN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "detector": ("scrfd", "yunet"),
        "embedder": ("arcface", "sface"),
        "attribute": ("2d106det", "dlib-age", "dlib-gender", "genderage", "mask", "mesh", OTHER),
    }
)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What becomes of a value, (value - mean) * scale, where the graph does not do it itself.

    `reads_graph` says whether files of this family come in both kinds, `by_batch_norm` whether a
    first batch normalisation tells one of them, too.
    """

    mean: float
    scale: float
    reads_graph: bool
    by_batch_norm: bool = False


# As InsightFace's own library feeds these networks.
NORMALISATIONS: Final[Mapping[str, Normalisation]] = MappingProxyType(
    {
        "scrfd": Normalisation(127.5, 1 / 128, reads_graph=False),
        "arcface": Normalisation(127.5, 1 / 127.5, reads_graph=True),
        "genderage": Normalisation(127.5, 1 / 128, reads_graph=True, by_batch_norm=True),
        "2d106det": Normalisation(127.5, 1 / 128, reads_graph=True, by_batch_norm=True),
    }
)

_SIZES: Final[Mapping[str, int]] = MappingProxyType({"genderage": 3, "2d106det": 212})
_SCRFD: Final = (1, 1, 1, 4, 4, 4, 10, 10, 10)


def complaint(family: str, shapes: Sequence[tuple[int, ...]]) -> str | None:
    """Say why outputs of these shapes cannot be those of this family; None when they may be."""
    if family == "scrfd":
        last = tuple(sorted(shape[-1] for shape in shapes if shape))
        if last == _SCRFD[:6]:
            return "it finds no landmarks, without which faces cannot be aligned (6 outputs, not 9)"
        if last != _SCRFD:
            return f"the family scrfd has 9 outputs (scores, boxes and points), not {len(shapes)}"
    wanted = _SIZES.get(family)
    given = shapes[0][-1] if shapes and shapes[0] else 0
    if wanted and given != wanted:
        return f"the family {family} answers {wanted} numbers a face, not {given}"
    return None
