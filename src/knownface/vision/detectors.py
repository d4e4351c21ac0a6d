"""Detector families: an Image becomes a network's tensor, the network's tensors become Detections.

A family is one class, registered under its `family` name; a model of a known family needs no code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import numpy as np

from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.imaging import resize
from knownface.types import F32, U8, Image
from knownface.vision.catalog import ModelSpec
from knownface.vision.tensors import planes, to_tensor


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
        self._knots = Knots(spec.probability or ((0.0, 0.0), (1.0, 1.0)))

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(f"{head}_{stride}" for head in self.HEADS for stride in self.STRIDES)

    def prepare(self, image: Image, max_size: int) -> tuple[F32, float]:
        longer = max(image.width, image.height)
        scale = 1.0
        if self.spec.size:
            scale = filling(image, self.spec.size)
        elif max_size and longer > max_size:
            scale = max_size / longer
        elif longer < self.SMALL:
            scale = 2.0
        pixels = canvas(image, scale, self.spec.size)
        return planes(pixels, backwards=True), scale

    def decode(self, outputs: Sequence[F32], tensor: F32, scale: float) -> Detections:
        heads = dict(zip(self.output_names, outputs, strict=True))
        parts = [self._decode_stride(heads, s, tensor.shape[2] // s) for s in self.STRIDES]
        return _best(parts, self.OVERLAP, scale)

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
        return self._knots(scores)


class SCRFD:
    """SCRFD (InsightFace): two anchors a cell, strides 8, 16 and 32, five landmarks.

    Input RGB, (value - 127.5) / 128, black at the right and the bottom. Nine outputs: for each
    stride scores [N, 1], distances of the four sides [N, 4] and of the points [N, 10] from the
    anchor, in strides; the two anchors of a cell lie next to each other at the corner of the cell,
    cells are in row-major order. Kinds are told apart by their columns, strides by their rows, so
    neither names nor order matter. Source: InsightFace, detection/scrfd.
    """

    family: ClassVar[str] = "scrfd"
    STRIDES: ClassVar[tuple[int, ...]] = (8, 16, 32)
    COLUMNS: ClassVar[tuple[int, ...]] = (1, 4, 10)
    FLOOR: ClassVar[float] = 0.3
    OVERLAP: ClassVar[float] = 0.4
    # The canvas that these networks were made for: smaller pictures are enlarged to it.
    SIDE: ClassVar[int] = 640
    # The library takes a score of 0.5 for a face, and a request that names no threshold means 0.8.
    KNOTS: ClassVar[tuple[tuple[float, float], ...]] = ((0, 0), (0.5, 0.8), (0.7, 0.9), (0.9, 1))

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._knots = Knots(spec.probability or self.KNOTS)

    def prepare(self, image: Image, max_size: int) -> tuple[F32, float]:
        longer = max(image.width, image.height)
        if self.spec.size:
            scale = filling(image, self.spec.size)
        else:
            wanted = max(longer, self.SIDE)
            scale = min(wanted, max_size or wanted) / longer
        return to_tensor(canvas(image, scale, self.spec.size), self.spec), scale

    def decode(self, outputs: Sequence[F32], tensor: F32, scale: float) -> Detections:
        by_columns: dict[int, list[F32]] = {columns: [] for columns in self.COLUMNS}
        for output in outputs:
            rows = output.reshape(-1, output.shape[-1])
            by_columns.setdefault(rows.shape[1], []).append(rows)
        if {k: len(v) for k, v in by_columns.items()} != dict.fromkeys(self.COLUMNS, 3):
            raise ModelUnavailable(f"Model {self.spec.name} has other outputs than an SCRFD.")
        ordered = [sorted(by_columns[k], key=len, reverse=True) for k in self.COLUMNS]
        parts = [
            self._decode_stride(heads, stride, tensor.shape[1:])
            for stride, *heads in zip(self.STRIDES, *ordered, strict=True)
        ]
        return _best(parts, self.OVERLAP, scale, pixel=1.0)

    def _decode_stride(
        self, heads: Sequence[F32], stride: int, size: tuple[int, ...]
    ) -> Detections:
        scores, distances, offsets = heads
        columns, cells = size[1] // stride, (size[0] // stride) * (size[1] // stride)
        if not len(scores) == len(distances) == len(offsets) or len(scores) % cells:
            raise ModelUnavailable(
                f"Model {self.spec.name} gave {len(scores)} scores for {cells} cells."
            )
        anchors = len(scores) // cells
        rows = np.flatnonzero(scores[:, 0] >= self.FLOOR)
        cell = rows // anchors
        origin = np.stack([cell % columns, cell // columns], axis=1).astype(np.float32) * stride
        # Noise may be larger than any picture.
        far = np.clip(distances[rows], -1e4, 1e4) * stride
        points = np.clip(offsets[rows], -1e4, 1e4).reshape(-1, 5, 2) * stride
        return Detections(
            np.concatenate([origin - far[:, :2], origin + far[:, 2:]], axis=1),
            points + origin[:, None],
            np.clip(scores[rows, 0], 0, 1),
        )

    def probability(self, scores: F32) -> F32:
        return self._knots(scores)


class Knots:
    """A curve through (raw score, probability): linear between the knots, level outside."""

    def __init__(self, knots: Sequence[tuple[float, float]]) -> None:
        self._raw, self._value = np.asarray(knots, np.float32).T

    def __call__(self, scores: F32) -> F32:
        return np.asarray(np.interp(scores, self._raw, self._value), np.float32)


def filling(image: Image, size: tuple[int, int]) -> float:
    """Return the factor with which a picture just fits into (width, height)."""
    return min(size[0] / image.width, size[1] / image.height)


def canvas(image: Image, scale: float, size: tuple[int, int] | None) -> U8:
    """Return the scaled picture at the top left of a black one, uint8 [H, W, 3] RGB.

    That has the given (width, height), else the next multiples of 32.
    """
    width = max(1, round(image.width * scale))
    height = max(1, round(image.height * scale))
    across, down = size or (-(-width // 32) * 32, -(-height // 32) * 32)
    scaled = resize(image, width, height).pixels
    if scaled.shape == (down, across, 3):
        return scaled
    pixels = np.zeros((down, across, 3), np.uint8)
    pixels[:height, :width] = scaled
    return pixels


def _best(
    parts: Sequence[Detections], overlap: float, scale: float, *, pixel: float = 0.0
) -> Detections:
    """Join what the strides saw, drop what overlaps, and go back to pixels of the picture."""
    boxes = np.concatenate([part.boxes for part in parts])
    points = np.concatenate([part.landmarks for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    keep = suppress_overlaps(boxes, scores, overlap, pixel=pixel)
    factor = np.float32(1.0 / scale)
    return Detections(boxes[keep] * factor, points[keep] * factor, scores[keep])


def suppress_overlaps(boxes: F32, scores: F32, overlap: float, *, pixel: float = 0.0) -> list[int]:
    """Return the rows to keep, best first: greedy non-maximum suppression by IoU.

    `pixel` is added to each side: 1 where a box is taken to include its last pixel.
    """
    order = np.argsort(-scores, kind="stable")
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2] + np.float32(pixel), 0)
    areas = sides[:, 0] * sides[:, 1]
    keep: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        keep.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.prod(np.maximum(high - low + np.float32(pixel), 0), axis=1)
        union = areas[best] + areas[order] - shared
        order = order[shared <= overlap * np.maximum(union, 1e-9)]
    return keep


FAMILIES: Final[Mapping[str, Callable[[ModelSpec], Detector]]] = {
    kind.family: kind for kind in (SCRFD, YuNet)
}


def create_detector(spec: ModelSpec) -> Detector:
    """Return the detector of the model's family, or say which families there are."""
    if spec.family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ConfigurationError(
            f"Model {spec.name}: there is no detector family {spec.family!r}; known are {known}."
        )
    return FAMILIES[spec.family](spec)
