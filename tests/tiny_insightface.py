"""Small networks with the inputs, outputs and names of InsightFace's, for the painted faces.

The detector finds the same marks as the one with YuNet's outputs, and writes them as an SCRFD does;
the embedder projects the same cells to 512 numbers. Each can be built as the other exporter writes
it, whose graphs subtract and scale by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from onnx_graph import Graph
from tiny_attributes import look
from tiny_models import STRIDES, TEMPLATE, Faces, coarser, faces_by_cell, grid

# What the files of det_10g.onnx call their outputs: scores, boxes and points of each stride.
OUTPUTS: Final = ("448", "471", "494", "451", "474", "497", "454", "477", "500")
DIMENSION: Final = 512

F64 = NDArray[np.float64]


def detector(
    *,
    batch_axis: bool = False,
    landmarks: bool = True,
    size: tuple[int, int] | None = None,
    names: tuple[str, ...] = OUTPUTS,
) -> bytes:
    """Return the ONNX file of `input.1` [1, 3, H, W] to an SCRFD's outputs, the strides in order.

    `size` (width, height) fixes the input; without `landmarks` there are six outputs.
    """
    graph = Graph()
    red, green, blue = graph.split("input.1", 3)
    other = graph.add("Max", blue, green)
    mark = graph.add("Relu", graph.add("Sub", red, other))
    faces = faces_by_cell(graph, graph.add("Mul", mark, graph.number(128 / 255)))
    kinds = 3 if landmarks else 2
    outputs: dict[str, tuple[int | str, ...]] = {}
    for place, stride in enumerate(STRIDES):
        seen = faces if stride == 8 else coarser(graph, faces, stride)
        _heads(graph, seen, stride, names[place : 3 * kinds : 3], batch_axis=batch_axis)
    for place, name in enumerate(names[: 3 * kinds]):
        # The dimensions of the real files are called "?", or give the sizes of a 640 x 640 input.
        columns = (1, 4, 10)[place // 3]
        rows: int | str = (
            "?" if size is None else 2 * (size[0] * size[1]) // STRIDES[place % 3] ** 2
        )
        outputs[name] = (1, rows, columns) if batch_axis else (rows, columns)
    width, height = size or ("?", "?")
    return graph.serialize("input.1", (1, 3, height, width), outputs)


def _heads(
    graph: Graph, faces: Faces, stride: int, names: tuple[str, ...], *, batch_axis: bool
) -> None:
    """Write distances from the corner of each cell, twice: two anchors see the same, one less."""
    zero, size = graph.number(0), graph.number(stride)
    column, row = grid(graph, faces.here)
    score = graph.add("Where", faces.here, faces.score, zero)
    weaker = graph.add("Mul", score, graph.number(0.9))
    # The middle of the face from the anchor, in strides.
    x = graph.add("Sub", graph.add("Div", faces.x, size), column)
    y = graph.add("Sub", graph.add("Div", faces.y, size), row)
    width, height = (graph.add("Div", side, size) for side in (faces.width, faces.height))
    half = [graph.add("Mul", side, graph.number(0.5)) for side in (width, height)]
    box = [
        graph.add("Sub", half[0], x),
        graph.add("Sub", half[1], y),
        graph.add("Add", half[0], x),
        graph.add("Add", half[1], y),
    ]
    points = []
    for u, v in TEMPLATE / 112 - 0.5:
        points.append(graph.add("Add", x, graph.add("Mul", width, graph.number(u))))
        points.append(graph.add("Add", y, graph.add("Mul", height, graph.number(v))))
    for name, anchors in zip(
        names, ([[score], [weaker]], [box, box], [points, points]), strict=False
    ):
        columns = len(anchors[0])
        both = [channel for anchor in anchors for channel in anchor]
        stacked = graph.add("Concat", *both, axis=1)
        rows = graph.add("Transpose", stacked, perm=[0, 2, 3, 1])
        shape = [1, -1, columns] if batch_axis else [-1, columns]
        graph.add("Reshape", rows, graph.constant(np.array(shape)), output=name)


def embedder(dimension: int = DIMENSION, *, normalises: bool = False) -> bytes:
    """Return the ONNX file of a face [N, 3, 112, 112] to [N, dimension], as w600k_r50 has it.

    One that `normalises` has the input `data` and takes values as they are.
    """
    graph = Graph()
    name, fed = _input(graph, normalises)
    cells = graph.add("AveragePool", fed, named="Pool", kernel_shape=[14, 14], strides=[14, 14])
    weights = np.array([0.5, 0.25, 0.25], np.float32).reshape(1, 3, 1, 1)
    levels = graph.add("Conv", cells, graph.constant(weights), named="Conv_0")
    basis = np.linalg.qr(np.random.default_rng(112).standard_normal((dimension, 64)))[0]
    projection = graph.constant(basis.T.astype(np.float32))
    graph.add("MatMul", graph.add("Flatten", levels), projection, output="683")
    return graph.serialize(name, ("None", 3, 112, 112), {"683": ("None", dimension)})


def genderage(
    *, normalises: bool = True, always: tuple[float, float, float] | None = None
) -> bytes:
    """Return the ONNX file of a face [N, 3, 96, 96] to `fc1` [N, 3]: female, male, age / 100.

    With `always` these are the numbers, whatever it sees.
    """
    graph = Graph()
    name, fed = _input(graph, normalises)
    seen = look(graph, fed, 96)
    slope = np.array([[-1, 1, 0.2]], np.float32) * (0 if always else 1)
    moved = graph.add("Mul", seen, graph.constant(slope))
    still = np.array([always or (0, 0, 0.4)], np.float32)
    graph.add("Add", moved, graph.constant(still), output="fc1")
    return graph.serialize(name, ("None", 3, 96, 96), {"fc1": ("None", 3)})


def landmarks(points: F64, *, normalises: bool = True) -> bytes:
    """Return the ONNX file of a face [N, 3, 192, 192] to `fc1` [N, 212], always these [106, 2]."""
    graph = Graph()
    name, fed = _input(graph, normalises)
    nothing = graph.add("Mul", look(graph, fed, 192), graph.number(0))
    flat = graph.constant(points.astype(np.float32).reshape(1, 212))
    graph.add("Add", nothing, flat, output="fc1")
    return graph.serialize(name, ("None", 3, 192, 192), {"fc1": ("None", 212)})


def mask(always: tuple[float, ...] = (0.7, 0.2, 0.1)) -> bytes:
    """Return the ONNX file of a mask network that always gives these probabilities."""
    graph = Graph()
    nothing = graph.add("Mul", look(graph, "rgb", 64), graph.number(0))
    sure = np.array([always], np.float32)
    graph.add("Add", nothing, graph.constant(sure), output="probability")
    size = len(always)
    return graph.serialize("rgb", ("n", 3, 64, 64), {"probability": ("n", size)})


def seeing_mask() -> bytes:
    """Return the ONNX file of a mask network of 48 x 48 whose answer depends on the face."""
    graph = Graph()
    slopes = graph.constant(np.array([[1, 2, -3]], np.float32))
    logits = graph.add("Mul", look(graph, "rgb", 48), slopes)
    graph.add("Softmax", logits, output="probability", axis=1)
    return graph.serialize("rgb", ("n", 3, 48, 48), {"probability": ("n", 3)})


def _input(graph: Graph, normalises: bool) -> tuple[str, str]:
    """Return the name of the input, and of what the network goes on with."""
    if not normalises:
        return "input.1", "input.1"
    less = graph.add("Sub", "data", graph.number(127.5), named="_minusscalar0")
    return "data", graph.add("Mul", less, graph.number(1 / 127.5), named="_mulscalar0")


def buffalo(landmark_points: F64) -> Mapping[str, bytes]:
    """Return small files under the names that the archive buffalo_l.zip has."""
    return {
        "det_10g.onnx": detector(),
        "w600k_r50.onnx": embedder(),
        "genderage.onnx": genderage(),
        "2d106det.onnx": landmarks(landmark_points),
        "1k3d68.onnx": b"a file that nothing here reads",
    }


def write_pack(models_dir: Path) -> None:
    """Write a folder `insight` of a model for each family, as a user would describe them."""
    folder = models_dir / "insight"
    folder.mkdir(parents=True)
    points = np.random.default_rng(106).uniform(-0.9, 0.9, (106, 2))
    for name, content in {**buffalo(points), "mask.onnx": seeing_mask()}.items():
        (folder / name).write_bytes(content)
    (folder / "model.toml").write_text(DESCRIPTION, "utf-8")


DESCRIPTION: Final = """
licence = "Apache-2.0"
source = "built by the tests"

[[model]]
name = "insight-detector"
task = "detector"
family = "scrfd"
file = "det_10g.onnx"

[[model]]
name = "insight-embedder"
task = "embedder"
family = "arcface"
file = "w600k_r50.onnx"
size = [112, 112]
dimension = 512
calibration = { c0 = 1.24, c1 = 6.0 }

[[model]]
name = "insight-genderage"
task = "attribute"
family = "genderage"
file = "genderage.onnx"
size = [96, 96]

[[model]]
name = "insight-2d106det"
task = "attribute"
family = "2d106det"
file = "2d106det.onnx"
size = [192, 192]

[[model]]
name = "insight-mask"
task = "attribute"
family = "mask"
file = "mask.onnx"
size = [48, 48]
mean = 127.5
scale = 0.0078125
answers = ["mask_weared_incorrect", "without_mask", "with_mask"]
"""
