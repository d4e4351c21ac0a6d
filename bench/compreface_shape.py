"""A pipeline of CompreFace's shape: MTCNN finds the faces, FaceNet embeds them.

The networks are built here, layer by layer, with random weights: these cost the same time as the
trained ones. How many candidates reach the second and the third network depends on the weights, so
the numbers that a trained one passes on are taken: see CANDIDATES. Everything runs in ONNX Runtime
on one thread, which is faster than the TensorFlow that CompreFace runs them in.

Sources: Zhang and others, Joint Face Detection and Alignment using Multitask Cascaded Convolutional
Networks, 2016; Szegedy and others, Inception-v4, Inception-ResNet, 2016, in the shape of FaceNet's
implementation by David Sandberg (Inception-ResNet-v1, 160 × 160, 512 numbers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from knownface.types import F32, U8

MIN_FACE, FACTOR, CELL = 20, 0.709, 12  # the smallest face and the pyramid of CompreFace
CANDIDATES = (
    73,
    10,
)  # what the trained MTCNN of facenet-pytorch passes on in the portrait at 640 px
THREADS = 1


class Shape(NamedTuple):
    """A tensor while the graph is written: its name and how many channels it has."""

    name: str
    channels: int


class Graph:
    """Writes convolutional networks in NCHW with random weights."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(
        self, kind: str, inputs: Sequence[str], channels: int, **attributes: int | list[int]
    ) -> Shape:
        name = f"t{len(self._nodes)}"
        node = helper.make_node(kind, list(inputs), [name])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self._nodes.append(node)
        return Shape(name, channels)

    def weight(self, *shape: int) -> str:
        name = f"w{len(self._weights)}"
        scale = np.float32(1 / math.sqrt(max(1, math.prod(shape[1:]))))
        values = self._random.standard_normal(shape, np.float32) * scale
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(
        self,
        x: Shape,
        channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        *,
        same: bool = False,
        activation: str = "Relu",
    ) -> Shape:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        pads = [height // 2, width // 2] * 2 if same else [0, 0, 0, 0]
        inputs = [x.name, self.weight(channels, x.channels, height, width), self.weight(channels)]
        made = self.node("Conv", inputs, channels, strides=[stride, stride], pads=pads)
        if activation == "PRelu":
            return self.node("PRelu", [made.name, self.weight(channels, 1, 1)], channels)
        return self.node(activation, [made.name], channels) if activation else made

    def pool(self, x: Shape, kernel: int, stride: int, *, up: int = 0) -> Shape:
        shape, strides = [kernel, kernel], [stride, stride]
        return self.node(
            "MaxPool", [x.name], x.channels, kernel_shape=shape, strides=strides, ceil_mode=up
        )

    def joined(self, *parts: Shape) -> Shape:
        channels = sum(part.channels for part in parts)
        return self.node("Concat", [part.name for part in parts], channels, axis=1)

    def dense(self, x: Shape, inputs: int, outputs: int, activation: str = "") -> Shape:
        flat = self.node("Flatten", [x.name], inputs)
        made = self.node("Gemm", [flat.name, self.weight(inputs, outputs)], outputs)
        return self.node(activation, [made.name], outputs) if activation else made

    def residual(self, x: Shape, branch: Shape, scale: float, activation: str = "Relu") -> Shape:
        up = self.conv(branch, x.channels, 1, activation="")
        factor = numpy_helper.from_array(np.array(scale, np.float32), f"w{len(self._weights)}")
        self._weights.append(factor)
        scaled = self.node("Mul", [up.name, factor.name], x.channels)
        added = self.node("Add", [x.name, scaled.name], x.channels)
        return self.node(activation, [added.name], x.channels) if activation else added

    def session(self, side: int | None, *outputs: Shape) -> ort.InferenceSession:
        sides = [side or "h", side or "w"]
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, *sides])],
            [helper.make_tensor_value_info(o.name, TensorProto.FLOAT, None) for o in outputs],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        return ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def proposals() -> ort.InferenceSession:
    """P-Net: fully convolutional, over every scale of the picture."""
    g = Graph(1)
    x = g.conv(Shape("x", 3), 10, 3, activation="PRelu")
    x = g.pool(x, 2, 2, up=1)
    x = g.conv(x, 16, 3, activation="PRelu")
    x = g.conv(x, 32, 3, activation="PRelu")
    return g.session(None, g.conv(x, 2, 1, activation=""), g.conv(x, 4, 1, activation=""))


def refinement() -> ort.InferenceSession:
    """R-Net: 24 × 24."""
    g = Graph(2)
    x = g.pool(g.conv(Shape("x", 3), 28, 3, activation="PRelu"), 3, 2, up=1)
    x = g.pool(g.conv(x, 48, 3, activation="PRelu"), 3, 2)
    x = g.conv(x, 64, 2, activation="PRelu")
    x = g.dense(x, 64 * 9, 128, "Relu")
    return g.session(24, g.dense(x, 128, 2), g.dense(x, 128, 4))


def output() -> ort.InferenceSession:
    """O-Net: 48 × 48, with five landmarks."""
    g = Graph(3)
    x = g.pool(g.conv(Shape("x", 3), 32, 3, activation="PRelu"), 3, 2, up=1)
    x = g.pool(g.conv(x, 64, 3, activation="PRelu"), 3, 2)
    x = g.pool(g.conv(x, 64, 3, activation="PRelu"), 2, 2, up=1)
    x = g.conv(x, 128, 2, activation="PRelu")
    x = g.dense(x, 128 * 9, 256, "Relu")
    return g.session(48, g.dense(x, 256, 2), g.dense(x, 256, 4), g.dense(x, 256, 10))


def facenet() -> ort.InferenceSession:
    """Inception-ResNet-v1 at 160 × 160."""
    g = Graph(4)
    x = g.conv(Shape("x", 3), 32, 3, 2)
    x = g.conv(x, 32, 3)
    x = g.conv(x, 64, 3, same=True)
    x = g.pool(x, 3, 2)
    x = g.conv(x, 80, 1)
    x = g.conv(x, 192, 3)
    x = g.conv(x, 256, 3, 2)
    for _ in range(5):
        x = _block35(g, x)
    deep = g.conv(g.conv(g.conv(x, 192, 1), 192, 3, same=True), 256, 3, 2)
    x = g.joined(g.conv(x, 384, 3, 2), deep, g.pool(x, 3, 2))
    for _ in range(10):
        branch = g.conv(g.conv(g.conv(x, 128, 1), 128, (1, 7), same=True), 128, (7, 1), same=True)
        x = g.residual(x, g.joined(g.conv(x, 128, 1), branch), 0.10)
    x = g.joined(
        g.conv(g.conv(x, 256, 1), 384, 3, 2),
        g.conv(g.conv(x, 256, 1), 256, 3, 2),
        g.conv(g.conv(g.conv(x, 256, 1), 256, 3, same=True), 256, 3, 2),
        g.pool(x, 3, 2),
    )
    for last in (False, False, False, False, False, True):
        branch = g.conv(g.conv(g.conv(x, 192, 1), 192, (1, 3), same=True), 192, (3, 1), same=True)
        x = g.residual(x, g.joined(g.conv(x, 192, 1), branch), 0.20, "" if last else "Relu")
    mean = g.node("GlobalAveragePool", [x.name], x.channels)
    return g.session(160, g.dense(mean, x.channels, 512))


def _block35(g: Graph, x: Shape) -> Shape:
    two = g.conv(g.conv(x, 32, 1), 32, 3, same=True)
    three = g.conv(g.conv(g.conv(x, 32, 1), 32, 3, same=True), 32, 3, same=True)
    return g.residual(x, g.joined(g.conv(x, 32, 1), two, three), 0.17)


class Pipeline:
    """Decode, shrink to 640 pixels, three networks find one face, one embeds it."""

    def __init__(self) -> None:
        self._networks = (proposals(), refinement(), output())
        self._facenet = facenet()

    def embed(self, jpeg: bytes) -> F32:
        """Return one embedding, float32 [1, 512]."""
        read = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert read is not None
        factor = min(1.0, 640 / max(read.shape[:2]))
        pixels = _resized(np.asarray(read[:, :, ::-1], np.uint8), factor)
        scale = CELL / MIN_FACE
        while min(pixels.shape[:2]) * scale >= CELL:
            self._run(0, _resized(pixels, scale)[None])
            scale *= FACTOR
        for network, side in ((1, 24), (2, 48)):
            crop = _square(pixels, side)
            self._run(network, np.repeat(crop[None], CANDIDATES[network - 1], axis=0))
        face = _tensor(_square(pixels, 160)[None])
        return np.asarray(self._facenet.run(None, {"x": face})[0], np.float32)

    def _run(self, network: int, pixels: U8) -> None:
        self._networks[network].run(None, {"x": _tensor(pixels)})


def _resized(pixels: U8, factor: float) -> U8:
    smaller = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, np.uint8)


def _square(pixels: U8, side: int) -> U8:
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _tensor(pixels: U8) -> F32:
    values = (pixels.astype(np.float32) - 127.5) / 128
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
