"""Small real networks and the pictures they understand: the whole path without any weights.

A painted face is a square of 8 x 8 cells. Its middle 4 x 4 cells are the mark, a red that occurs
nowhere else; the 48 grey cells around it are the identity. The detector has the inputs and outputs
of YuNet and finds every mark; the embedder has those of SFace and projects the cells. Landmarks
lie where the alignment expects them, so the aligned crop is the square: the embedding of an
identity is nearly the same however large it was painted, and that of others at right angles to it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

import tiny_attributes
from onnx_graph import Graph

DETECTOR: Final = "tiny-detector"
EMBEDDER: Final = "tiny-embedder"
# Another embedder, whose vectors have the same length and resemble none of the first's.
OTHER_EMBEDDER: Final = "tiny-other"
DIMENSION: Final = 128
# The first so many identities are exactly at right angles to each other, others only nearly.
ORTHOGONAL: Final = 47
# A mark of at most so many pixels is none.
SPECK: Final = 7
# Where the landmarks are on an aligned crop of 112 pixels.
TEMPLATE: Final = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ],
    np.float32,
)
STRIDES: Final = (8, 16, 32)

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Mark:
    """A face to paint, at (x, y) of its top left corner; `side` is a multiple of 8, at least 16.

    `confidence` (0.5 to 1) becomes the raw score. `like=(other, t)` moves the identity towards
    another: the cosine with its own becomes (1 - t) / sqrt((1 - t)² + t²).
    """

    identity: int
    x: int = 0
    y: int = 0
    side: int = 128
    confidence: float = 1.0
    like: tuple[int, float] | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box that has to be found: x_min, y_min, x_max, y_max."""
        return (self.x, self.y, self.x + self.side, self.y + self.side)

    @property
    def landmarks(self) -> F32:
        """The landmarks that have to be found, float32 [5, 2]."""
        corner = np.array([self.x, self.y], np.float32)
        return np.asarray(TEMPLATE * (self.side / 112) + corner, np.float32)

    @property
    def pixels(self) -> U8:
        """The painted face, uint8 [side, side, 3] RGB."""
        if self.side % 8 or self.side < 16:
            raise ValueError("the side of a mark is a multiple of 8, and at least 16")
        cells = np.full((8, 8, 3), (round(255 * self.confidence), 0, 0), np.uint8)
        cells[_ring()] = np.rint(127.5 + 100 * self._levels())[:, None]
        return cells.repeat(self.side // 8, axis=0).repeat(self.side // 8, axis=1)

    def _levels(self) -> F32:
        own = identity_pattern(self.identity)
        if self.like is None:
            return own
        other, share = self.like
        mixed = (1 - share) * own + share * identity_pattern(other)
        return np.asarray(mixed / np.abs(mixed).max(), np.float32)


def identity_pattern(identity: int) -> F32:
    """Return the 48 cells of an identity, each -1 or 1."""
    if identity >= ORTHOGONAL:
        rng = np.random.default_rng(identity)
        return rng.choice(np.array([-1, 1], np.float32), 48)
    # A row of Paley's Hadamard matrix of order 48, by the squares modulo 47.
    squares = {i * i % 47 for i in range(1, 47)}
    signs = [1 if (column - identity) % 47 in squares else -1 for column in range(47)]
    return np.array([-1, *signs], np.float32)


def picture(
    marks: Sequence[Mark], width: int = 640, height: int = 480, background: int = 128
) -> U8:
    """Paint the faces on grey; returns uint8 [height, width, 3] RGB, faces cut at the edges."""
    pixels = np.full((height, width, 3), background, np.uint8)
    for mark in marks:
        left, top, right, bottom = mark.box
        seen = pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        face = mark.pixels[max(0, -top) :, max(0, -left) :]
        seen[:] = face[: seen.shape[0], : seen.shape[1]]
    return pixels


def encode(pixels: U8, kind: str = "PNG") -> bytes:
    """Encode pixels (uint8 [H, W, 3] RGB) as a file of that kind, by Pillow's name for it."""
    stream = io.BytesIO()
    quality = {"quality": 95} if kind == "JPEG" else {}
    Pillow.fromarray(pixels).save(stream, kind, **quality)
    return stream.getvalue()


def portrait(identity: int, *, like: tuple[int, float] | None = None, kind: str = "PNG") -> bytes:
    """Return the file of a picture of 256 x 256 with one face of 128 in its middle."""
    return encode(picture([Mark(identity, 64, 64, like=like)], 256, 256), kind)


def group(identities: Sequence[int], *, kind: str = "PNG") -> bytes:
    """Return the file of a picture of these faces, side by side, each smaller than the last."""
    marks: list[Mark] = []
    left = 16
    for place, identity in enumerate(identities):
        side = max(32, 160 - 8 * place)
        marks.append(Mark(identity, left, 16, side))
        left += side + 16
    return encode(picture(marks, max(left, 400), 192), kind)


def blank(width: int = 256, height: int = 256) -> bytes:
    """Return the PNG file of a picture without a face."""
    return encode(picture([], width, height))


def write_models(folder: Path, *, fmr: Sequence[tuple[float, float]] = ()) -> None:
    """Fill a models folder with every network, as a user would add models of their own.

    Those of attributes have the names of the shipped ones and so replace them. `fmr` is the
    embedder's table of false match rates, which it has none of otherwise.
    """
    given = ['task = "detector"', 'family = "yunet"', 'input = "input"', 'colour = "BGR"']
    write_model(folder, DETECTOR, detector(), given)
    write_embedder(folder, EMBEDDER, fmr=fmr)
    for name, (content, lines) in tiny_attributes.models().items():
        write_model(folder, name, content, lines)


def write_embedder(
    folder: Path,
    name: str,
    *,
    seed: int = 112,
    dimension: int = DIMENSION,
    fmr: Sequence[tuple[float, float]] = (),
) -> None:
    """Write an embedder's folder; vectors of two seeds, or of two lengths, tell nothing together.

    `fmr` is its table of false match rates, which it has none of otherwise.
    """
    more = [
        'task = "embedder"',
        'family = "sface"',
        'input = "data"',
        "size = [112, 112]",
        f"dimension = {dimension}",
        "calibration = { c0 = 1.16, c1 = 6.6 }",
        f"fmr = {[list(row) for row in fmr]}",
    ]
    write_model(folder, name, embedder(seed, dimension), more)


def write_model(folder: Path, name: str, content: bytes, lines: Sequence[str]) -> None:
    """Write one model's folder; `lines` are those of its model.toml that are its own."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.onnx").write_bytes(content)
    known = [
        f'name = "{name}"',
        f'file = "{name}.onnx"',
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"',
        f"bytes = {len(content)}",
        'licence = "Apache-2.0"',
        'source = "built by the tests"',
        *lines,
    ]
    (place / "model.toml").write_text("\n".join(known) + "\n", "utf-8")


@cache
def embedder(seed: int = 112, dimension: int = DIMENSION) -> bytes:
    """Return the ONNX file of an embedder: `data` [1, 3, 112, 112] to `fc1` [1, dimension]."""
    graph = Graph()
    cells = graph.add("AveragePool", "data", kernel_shape=[14, 14], strides=[14, 14])
    # Weights under which the mark's red and middle grey are 0, if the channels come as RGB.
    weights = np.array([0.5, 0.25, 0.25], np.float32).reshape(1, 3, 1, 1) / np.float32(127.5)
    bias = np.array([-1], np.float32)
    levels = graph.add("Conv", cells, graph.constant(weights), graph.constant(bias))
    # Columns at right angles keep the angles between identities as they were painted.
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((dimension, 64)))[0]
    projection = graph.constant(basis.T.astype(np.float32))
    graph.add("MatMul", graph.add("Flatten", levels), projection, output="fc1")
    return graph.serialize("data", (1, 3, 112, 112), {"fc1": (1, dimension)})


@cache
def detector(size: tuple[int, int] | None = None) -> bytes:
    """Return the ONNX file of the detector: `input` [1, 3, H, W] BGR to YuNet's outputs.

    With a size (width, height) the file fixes that, as the one of the OpenCV Zoo does.
    """
    graph = Graph()
    blue, green, red = graph.split("input", 3)
    other = graph.add("Max", blue, green)
    mark = graph.add("Relu", graph.add("Sub", red, other))
    strength = graph.add("Div", mark, graph.number(255))
    faces = faces_by_cell(graph, strength)
    for stride in STRIDES:
        _heads(graph, faces if stride == 8 else coarser(graph, faces, stride), stride)
    columns = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    width, height = size or ("width", "height")
    cells = {s: size[0] * size[1] // s**2 if size else f"cells_{s}" for s in STRIDES}
    outputs = {
        f"{head}_{stride}": (1, cells[stride], count)
        for head, count in columns.items()
        for stride in STRIDES
    }
    return graph.serialize("input", (1, 3, height, width), outputs)


@dataclass(frozen=True, slots=True)
class Faces:
    """Per cell, [1, 1, h, w]: is the centre of a face in it, where is that, how large is it?"""

    here: str
    score: str
    x: str
    y: str
    width: str
    height: str


def faces_by_cell(graph: Graph, strength: str) -> Faces:
    """Find the edges of the mark around every cell of 8 pixels, and keep the cell of its centre."""
    left, right, score = _extent(graph, strength, axis=3)
    top, bottom, _ = _extent(graph, strength, axis=2)
    width, height = graph.add("Sub", right, left), graph.add("Sub", bottom, top)
    x = graph.add("Mul", graph.add("Add", left, right), graph.number(0.5))
    y = graph.add("Mul", graph.add("Add", top, bottom), graph.number(0.5))
    column, row = grid(graph, x)
    here = graph.add("And", _in_cell(graph, x, column), _in_cell(graph, y, row))
    # Not what noise has of red.
    for length in (width, height):
        here = graph.add("And", here, graph.add("Greater", length, graph.number(SPECK)))
    # A mark is half as wide as its face.
    two = graph.number(2)
    return Faces(here, score, x, y, graph.add("Mul", width, two), graph.add("Mul", height, two))


def _extent(graph: Graph, strength: str, axis: int) -> tuple[str, str, str]:
    """Return the mark's first pixel, the one after its last, and its strength, per cell of 8.

    Every fourth line across the axis is looked at. What a cell without a mark gets is far outside.
    """
    across = 5 - axis
    lines = graph.slice(strength, across, step=4)
    marked = graph.add("Greater", lines, graph.number(0.4))
    length = graph.length(lines, axis)
    place = graph.positions(length, axis)
    nothing = graph.number(-1e6)
    ends = []
    for sign in (1, -1):
        # Going along the axis: the last pixel so far that is no mark; then the same from behind.
        edge = graph.number(-1) if sign == 1 else graph.add("Neg", length)
        signed = place if sign == 1 else graph.add("Neg", place)
        last = graph.add("Where", marked, nothing, signed)
        for power in range(9):
            shifted = graph.shift(last, axis, sign * 2**power, edge, length)
            last = graph.add("Max", last, shifted)
        ends.append(last)
    kernel = [2, 8] if axis == 3 else [8, 2]
    first = graph.add("Where", marked, graph.add("Neg", ends[0]), nothing)
    after = graph.add("Where", marked, graph.add("Neg", ends[1]), nothing)
    outermost = graph.add("Neg", graph.pool(first, kernel))
    return (
        graph.add("Add", outermost, graph.number(1)),
        graph.pool(after, kernel),
        graph.pool(lines, kernel),
    )


def _in_cell(graph: Graph, centre: str, cell: str) -> str:
    return graph.add("Equal", graph.add("Floor", graph.add("Div", centre, graph.number(8))), cell)


def grid(graph: Graph, like: str) -> tuple[str, str]:
    """Return the number of each column and of each row, to be broadcast over [1, 1, h, w]."""
    return (
        graph.positions(graph.length(like, 3), 3),
        graph.positions(graph.length(like, 2), 2),
    )


def coarser(graph: Graph, faces: Faces, stride: int) -> Faces:
    """Return the faces large enough for a coarser grid: two of them never share a cell there."""
    large = graph.add("Greater", faces.width, graph.number(2 * stride))
    here = graph.add("And", faces.here, large)
    kernel = [stride // 8] * 2

    def pooled(value: str) -> str:
        return graph.pool(graph.add("Where", here, value, graph.number(-1e6)), kernel)

    score = pooled(faces.score)
    return Faces(
        graph.add("Greater", score, graph.number(0)),
        # Slightly less than on the finer grid, so that it is certain which of them is suppressed.
        graph.add("Mul", score, graph.number(1 - stride / 1000)),
        *(pooled(value) for value in (faces.x, faces.y, faces.width, faces.height)),
    )


def _heads(graph: Graph, faces: Faces, stride: int) -> None:
    """Write the faces as YuNet does, relative to their cells, as one row a cell."""
    zero, size = graph.number(0), graph.number(stride)
    score = graph.add("Where", faces.here, faces.score, zero)
    score = graph.add("Clip", score, zero, graph.number(1))
    column, row = grid(graph, faces.here)
    x = graph.add("Sub", graph.add("Div", faces.x, size), column)
    y = graph.add("Sub", graph.add("Div", faces.y, size), row)
    sides = [
        graph.add("Div", graph.add("Max", side, graph.number(1)), size)
        for side in (faces.width, faces.height)
    ]
    box = [x, y, *(graph.add("Log", side) for side in sides)]
    points = []
    for u, v in TEMPLATE / 112 - 0.5:
        points.append(graph.add("Add", x, graph.add("Mul", sides[0], graph.number(u))))
        points.append(graph.add("Add", y, graph.add("Mul", sides[1], graph.number(v))))
    heads = {"cls": [score], "obj": [score], "bbox": box, "kps": points}
    for head, channels in heads.items():
        found = [graph.add("Where", faces.here, channel, zero) for channel in channels]
        stacked = graph.add("Concat", *found, axis=1)
        rows = graph.add("Transpose", stacked, perm=[0, 2, 3, 1])
        shape = graph.constant(np.array([1, -1, len(channels)]))
        graph.add("Reshape", rows, shape, output=f"{head}_{stride}")


def _ring() -> NDArray[np.bool_]:
    """The cells of the identity: all but the middle 4 x 4."""
    ring = np.ones((8, 8), np.bool_)
    ring[2:6, 2:6] = False
    return ring
