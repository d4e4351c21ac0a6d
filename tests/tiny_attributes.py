"""Small real networks for attributes: what they say of a painted face follows from its identity.

Each looks at the picture through random weights, so faces differ and one face is always the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from onnx_graph import Graph

YEARS: Final = 81
CROP: Final = 192

F64 = NDArray[np.float64]


def models() -> Mapping[str, tuple[bytes, list[str]]]:
    """Return for each shipped model of an attribute a small file, and what its model.toml says."""
    chip = ['input = "images"', "mean = [122.782, 117.001, 104.298]", "scale = 0.00390625"]
    return {
        "dlib-age": (age(), ["size = [64, 64]", *_attribute("dlib-age"), *chip]),
        "dlib-gender": (gender(), ["size = [32, 32]", *_attribute("dlib-gender"), *chip]),
        "mesh": (mesh(), mesh_lines()),
    }


def mesh_lines() -> list[str]:
    size = f"size = [{CROP}, {CROP}]"
    return [*_attribute("mesh"), 'input = "input_1"', 'layout = "NHWC"', size]


def _attribute(family: str) -> list[str]:
    return ['task = "attribute"', f'family = "{family}"']


def age() -> bytes:
    """Return the ONNX file of `images` [1, 3, 64, 64] to the probability of each of 81 years."""
    graph = Graph()
    expected = graph.add("Mul", look(graph, "images", 64), graph.number(30))
    expected = graph.add("Add", expected, graph.number(40))
    years = graph.constant(np.arange(YEARS, dtype=np.float32)[None])
    off = graph.add("Sub", years, expected)
    logits = graph.add("Mul", graph.add("Mul", off, off), graph.number(-0.05))
    graph.add("Softmax", logits, output="probabilities", axis=1)
    return graph.serialize("images", (1, 3, 64, 64), {"probabilities": (1, YEARS)})


def gender(always: tuple[float, float] | None = None) -> bytes:
    """Return the ONNX file of `images` [1, 3, 32, 32] to the probabilities of female and male.

    With `always` they are these, whatever it sees.
    """
    graph = Graph()
    signs = graph.constant(np.array([[0, 0] if always else [-3, 3]], np.float32))
    seen = graph.add("Mul", look(graph, "images", 32), signs)
    logits = graph.add("Add", seen, graph.constant(np.log([always or (1, 1)]).astype(np.float32)))
    graph.add("Softmax", logits, output="probabilities", axis=1)
    return graph.serialize("images", (1, 3, 32, 32), {"probabilities": (1, 2)})


def mask() -> bytes:
    """Return the ONNX file of `rgb` [1, 3, 64, 64] to the probabilities of three values.

    The darker what it sees, the likelier the first, and the brighter, the likelier the last.
    """
    graph = Graph()
    pooled = graph.add("AveragePool", "rgb", kernel_shape=[64, 64], strides=[64, 64])
    mixed = graph.constant(np.full((3, 3), 1 / 3, np.float32))
    levels = graph.add("MatMul", graph.add("Flatten", pooled), mixed)
    off = graph.add("Sub", levels, graph.constant(np.array([[60, 115, 170]], np.float32)))
    logits = graph.add("Mul", graph.add("Mul", off, off), graph.number(-0.002))
    graph.add("Softmax", logits, output="probabilities", axis=1)
    return graph.serialize("rgb", (1, 3, 64, 64), {"probabilities": (1, 3)})


def mesh(points: F64 | None = None) -> bytes:
    """Return the ONNX file of `input_1` [1, 192, 192, 3] to 468 points.

    They are those given, float64 [468, 3] in pixels of the crop; without them, a frontal mesh that
    is sheared by what the network sees.
    """
    graph = Graph()
    turned = graph.add("Transpose", "input_1", perm=[0, 3, 1, 2])
    seen = graph.add("Mul", look(graph, turned, CROP), graph.number(0 if points is not None else 1))
    still = in_crop(frontal_mesh()) if points is None else points
    shear = np.zeros_like(still)
    shear[:, 0] = still[:, 2]
    moved = graph.add("Mul", seen, graph.constant(shear.astype(np.float32).reshape(1, -1)))
    flat = graph.constant(still.astype(np.float32).reshape(1, -1))
    graph.add("Add", flat, moved, output="points")
    return graph.serialize("input_1", (1, CROP, CROP, 3), {"points": (1, still.size)})


def frontal_mesh() -> F64:
    """Return the mesh of a face that looks at the camera, float64 [468, 3], around the origin."""
    path = resources.files("knownface.vision").joinpath("data", "frontal_mesh.csv")
    with path.open(encoding="ascii") as stream:
        return np.loadtxt(stream, delimiter=",", ndmin=2)


def in_crop(points: F64) -> F64:
    """Scale a mesh around the origin so that it fills the crop, in pixels of that."""
    return points * 1000 + (CROP / 2, CROP / 2, 0)


def look(graph: Graph, tensor: str, size: int) -> str:
    """Return one number, [1, 1], about -1 to 1, that depends on all of a picture's 8 x 8 cells."""
    cell = size // 8
    cells = graph.add("AveragePool", tensor, kernel_shape=[cell, cell], strides=[cell, cell])
    rng = np.random.default_rng(size)
    weights = rng.standard_normal((192, 1)).astype(np.float32)
    weights -= weights.mean()
    seen = graph.add("MatMul", graph.add("Flatten", cells), graph.constant(weights))
    # What a model.toml of no scale leaves at 0 to 255 has to be brought to the same size.
    return graph.add("Tanh", graph.add("Mul", seen, graph.number(0.3 if size < CROP else 0.001)))
