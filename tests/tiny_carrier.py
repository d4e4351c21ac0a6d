"""A small stand-in for a published model: an int8bq ONNX file, a wheel around it, its spec."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from knownface.types import Calibration
from knownface.vision.catalog import Carrier, Catalog, ModelSpec
from knownface.vision.convert import convert

WHEEL = "tinycarrier-1.0-py3-none-any.whl"
MEMBER = "tinycarrier/weights/tiny_int8bq.onnx"


def int8bq_model() -> bytes:
    """Build a network whose constants are quantised in each of the ways that OpenCV Zoo's are.

    Convolution weights by block and then reshaped, a bias by block with the last one cut short,
    dense weights by slice, a dense bias by tensor without a zero point; one weight is listed as an
    input as well.
    """
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []

    def constant(name: str, values: NDArray[np.generic]) -> str:
        initializers.append(numpy_helper.from_array(values, name))
        return name

    def quantized(name: str, shape: tuple[int, ...], scales: tuple[int, ...], **how: int) -> str:
        inputs = [
            constant(f"{name}_quantized", spread_over(shape, 89, 255, -127).astype(np.int8)),
            constant(f"{name}_scales", spread_over(scales, 11, 17, 1).astype(np.float32) / 999),
        ]
        if scales:
            zeros = spread_over(scales, 5, 11, -5).astype(np.int8)
            inputs.append(constant(f"{name}_zero_point", zeros))
        node = helper.make_node("DequantizeLinear", inputs, [f"{name}_dequantized"])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in how.items())
        nodes.append(node)
        return f"{name}_dequantized"

    weight = quantized("conv.weight", (4, 27), (4, 3), axis=1, block_size=9)
    shape = constant("conv.weight_shape", np.array([0, 3, 3, 3], np.int64))
    nodes.append(helper.make_node("Reshape", [weight, shape], ["conv.weight_reshaped"]))
    bias = quantized("conv.bias", (4,), (2,), axis=0, block_size=3)
    dense = quantized("dense.weight", (5, 4 * 4 * 4), (5,), axis=0)
    dense_bias = quantized("dense.bias", (5,), ())
    ratio = numpy_helper.from_array(np.array(0.4, np.float32))
    nodes += [
        helper.make_node("Constant", [], ["ratio"], value=ratio),
        helper.make_node("Conv", ["data", "conv.weight_reshaped", bias], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], doc_string="said by the exporter"),
        helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Dropout", ["m", "ratio"], ["d"]),
        helper.make_node("Flatten", ["d"], ["f"]),
        helper.make_node("Gemm", ["f", dense, dense_bias], ["fc"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 8, 8]),
            helper.make_tensor_value_info("conv.weight_quantized", TensorProto.INT8, [4, 27]),
        ],
        [helper.make_tensor_value_info("fc", TensorProto.FLOAT, [1, 5])],
        initializers,
    )
    opset = helper.make_opsetid("", 21)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10, producer_name="exporter")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def spread_over(shape: tuple[int, ...], step: int, modulus: int, low: int) -> NDArray[np.int64]:
    """Fill a shape with numbers that look random and are the same with every version of NumPy."""
    count = int(np.prod(shape, dtype=np.int64))
    return (np.arange(1, count + 1) * step % modulus + low).reshape(shape)


def write_wheel(folder: Path, content: bytes, padding: int = 0) -> Path:
    """Write a wheel that pip accepts and that carries `content`, and `padding` bytes besides."""
    info = "tinycarrier-1.0.dist-info"
    files = {
        MEMBER: content,
        "tinycarrier/padding": bytes(padding),
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tinycarrier\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in files).encode()
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def tiny_spec(original: bytes, wheel: Path) -> ModelSpec:
    """Describe the tiny model with every hash right, as the shipped catalogue describes its own."""
    spec = ModelSpec(
        name="tiny",
        task="embedder",
        family="tiny",
        file="tiny.onnx",
        input="data",
        size=(8, 8),
        dimension=5,
        calibration=Calibration(1.0, 1.0),
        carrier=Carrier(
            package="tinycarrier",
            version="1.0",
            wheel=wheel.name,
            sha256=sha256(wheel.read_bytes()),
            bytes=wheel.stat().st_size,
            member=MEMBER,
            member_sha256=sha256(original),
            conversion="int8bq",
        ),
    )
    converted = convert(original, spec)
    return replace(spec, sha256=sha256(converted), bytes=len(converted))


def catalog_of(spec: ModelSpec, models_dir: Path, bundle: Path | None = None) -> Catalog:
    """Return a catalogue of this one model."""
    return Catalog([spec], models_dir, own_folders={}, bundle=bundle)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
