"""Detector families: an Image becomes a network's tensor, the network's tensors become Detections.

A family is one class, registered under its `family` name; a model of a known family needs no code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import numpy as np

from knownface.errors import ConfigurationError
from knownface.imaging import resize
from knownface.types import F32, Image
from knownface.vision.catalog import ModelSpec


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector saw, best first, in pixels of the picture it was given.

    `boxes` is float32 [N, 4] (x_min, y_min, x_max, y_max; they may leave the picture), `landmarks`
    float32 [N, 5, 2] in the order of `Face.landmarks`, `scores` float32 [N], raw from the network.
    """

    boxes: F32
    landmarks: F32
    scores: F32

    def __len__(self) -> int:
        return len(self.scores)


class Detector(Protocol):
    """One family: pure functions around a network run, which the caller does."""

    spec: ModelSpec

    def prepare(self, image: Image, max_size: int) -> tuple[F32, float]:
        """Return the input tensor [3, H, W] and the factor from picture to tensor pixels."""
        ...

    def decode(self, outputs: Sequence[F32], tensor: F32, scale: float) -> Detections:
        """Return the faces in picture pixels, overlaps already removed, best first."""
        ...

    def probability(self, scores: F32) -> F32:
        """Return calibrated probabilities in 0..1 for raw scores."""
        ...


class YuNet:
    """YuNet (libfacedetection, OpenCV Zoo): anchor-free, strides 8, 16 and 32, five landmarks.

    Input BGR 0..255, padded at the right and the bottom to multiples of 32. Outputs per stride s,
    for each cell of a grid in row-major order: `cls_s`, `obj_s` [N, 1], `bbox_s` [N, 4] (offset of
    the centre in cells, log of the size) and `kps_s` [N, 10] (offsets in cells).
    Source: https://github.com/ShiqiYu/libfacedetection.
    """

    family: ClassVar[str] = "yunet"
    STRIDES: ClassVar[tuple[int, ...]] = (8, 16, 32)
    HEADS: ClassVar[tuple[str, ...]] = ("cls", "obj", "bbox", "kps")
    # Below this raw score hardly anything is a face; a threshold of 0 must not find hundreds.
    FLOOR: ClassVar[float] = 0.3
    OVERLAP: ClassVar[float] = 0.3
    # Pictures smaller than this are doubled: in a thumbnail a face has too few cells.
    SMALL: ClassVar[int] = 400

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        # A model without knots is taken at its word.
        knots = spec.probability or ((0.0, 0.0), (1.0, 1.0))
        self._knots = np.asarray(knots, np.float32).T

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(f"{head}_{stride}" for head in self.HEADS for stride in self.STRIDES)

    def prepare(self, image: Image, max_size: int) -> tuple[F32, float]:
        longer = max(image.width, image.height)
        scale = 1.0
        if max_size and longer > max_size:
            scale = max_size / longer
        elif longer < self.SMALL:
            scale = 2.0
        width = max(1, round(image.width * scale))
        height = max(1, round(image.height * scale))
        if scale != 1.0:
            image = resize(image, width, height)
        tensor = np.zeros((3, -(-height // 32) * 32, -(-width // 32) * 32), np.float32)
        tensor[:, :height, :width] = image.pixels[:, :, ::-1].transpose(2, 0, 1)
        return tensor, scale

    def decode(self, outputs: Sequence[F32], tensor: F32, scale: float) -> Detections:
        heads = dict(zip(self.output_names, outputs, strict=True))
        parts = [self._decode_stride(heads, s, tensor.shape[2] // s) for s in self.STRIDES]
        found = Detections(
            np.concatenate([p.boxes for p in parts]),
            np.concatenate([p.landmarks for p in parts]),
            np.concatenate([p.scores for p in parts]),
        )
        keep = suppress_overlaps(found.boxes, found.scores, self.OVERLAP)
        factor = np.float32(1.0 / scale)
        return Detections(
            found.boxes[keep] * factor, found.landmarks[keep] * factor, found.scores[keep]
        )

    def _decode_stride(self, heads: Mapping[str, F32], stride: int, columns: int) -> Detections:
        scores = np.sqrt(
            np.clip(heads[f"cls_{stride}"][:, 0], 0, 1)
            * np.clip(heads[f"obj_{stride}"][:, 0], 0, 1)
        )
        cells = np.flatnonzero(scores >= self.FLOOR)
        origin = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
        raw = heads[f"bbox_{stride}"][cells]
        centre = (origin + raw[:, :2]) * stride
        # Noise may make the network say exp(100), which is no number any more.
        half = np.exp(np.minimum(raw[:, 2:], 10.0)) * (stride / 2)
        points = heads[f"kps_{stride}"][cells].reshape(-1, 5, 2)
        return Detections(
            np.concatenate([centre - half, centre + half], axis=1),
            (points + origin[:, None]) * stride,
            scores[cells],
        )

    def probability(self, scores: F32) -> F32:
        return np.asarray(np.interp(scores, self._knots[0], self._knots[1]), np.float32)


def suppress_overlaps(boxes: F32, scores: F32, overlap: float) -> list[int]:
    """Return the rows to keep, best first: greedy non-maximum suppression by IoU."""
    order = np.argsort(-scores, kind="stable")
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas = sides[:, 0] * sides[:, 1]
    keep: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        keep.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        union = areas[best] + areas[order] - shared
        order = order[shared <= overlap * np.maximum(union, 1e-9)]
    return keep


FAMILIES: Final[Mapping[str, Callable[[ModelSpec], Detector]]] = {YuNet.family: YuNet}


def create_detector(spec: ModelSpec) -> Detector:
    """Return the detector of the model's family, or say which families there are."""
    if spec.family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ConfigurationError(
            f"Model {spec.name}: there is no detector family {spec.family!r}; known are {known}."
        )
    return FAMILIES[spec.family](spec)
