"""A TFLite network as an ONNX graph: the few operators that MediaPipe's face mesh is made of.

TFLite stores pictures as NHWC and ONNX convolves NCHW. So the picture is turned once, at the input,
and everything behind it stays turned. No number is computed here: weights are only rearranged, and
the same file gives the same graph everywhere. Imported by `convert` alone, when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
import tflite
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto, ValueInfoProto, helper, numpy_helper

from knownface.types import F32

# Every class of options has the accessors used here; the schema package declares no types.
Options = TypeVar("Options", bound=Any)
Number = TypeVar("Number", np.float32, np.int32)

_TO_NCHW: Final = (0, 3, 1, 2)
_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
)


class Untranslatable(Exception):
    """What of a TFLite file has no translation here; the text goes on after "The original"."""


def translated(content: bytes, batch: int | str) -> GraphProto:
    """Return the graph of a TFLite file with one picture as input and vectors as outputs.

    `batch` is the length of axis 0, or a name where it may vary. Raises Untranslatable.
    """
    if not tflite.Model.ModelBufferHasIdentifier(content, 0):
        raise Untranslatable("is not a TFLite file")
    model = tflite.Model.GetRootAs(content, 0)
    if model.SubgraphsLength() != 1 or model.Subgraphs(0).InputsLength() != 1:
        raise Untranslatable("has not one graph with one input")
    return _Translation(model).graph(batch)


class _Translation:
    """One graph on its way: the ONNX nodes so far, and what each TFLite tensor is called there."""

    def __init__(self, model: tflite.Model) -> None:
        self._model = model
        self._source = model.Subgraphs(0)
        self._graph = GraphProto()
        self._turned: dict[int, str] = {}

    def graph(self, batch: int | str) -> GraphProto:
        given = self._source.Inputs(0)
        name, shape = self._name(given), self._shape(given)
        self._graph.input.append(_described(name, (batch, *shape[1:])))
        self._turned[given] = self._add("Transpose", name, perm=_TO_NCHW, output=f"{name}_nchw")
        for position in range(self._source.OperatorsLength()):
            self._operator(self._source.Operators(position))
        for output in self._source.OutputsAsNumpy().tolist():
            self._output(output, batch)
        return self._graph

    def _operator(self, operator: tflite.Operator) -> None:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        # Small numbers stand in the older of the two fields, which has no room for large ones.
        name = _NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if name not in _OPERATORS:
            raise Untranslatable(f"uses {name}")
        _OPERATORS[name](self, operator)

    def _output(self, tensor: int, batch: int | str) -> None:
        _, height, width, channels = self._shape(tensor)
        if (height, width) != (1, 1):
            raise Untranslatable(f"has an output of {height} x {width} cells")
        self._add("Flatten", self._turned[tensor], output=self._name(tensor))
        self._graph.output.append(_described(self._name(tensor), (batch, channels)))

    # Operators

    def _conv(self, operator: tflite.Operator) -> None:
        options = _options(operator, tflite.Conv2DOptions())
        weights = self._weights(operator.Inputs(1)).transpose(_TO_NCHW)
        self._convolved(operator, options, weights, groups=1)

    def _depthwise_conv(self, operator: tflite.Operator) -> None:
        options = _options(operator, tflite.DepthwiseConv2DOptions())
        weights = self._weights(operator.Inputs(1)).transpose(3, 0, 1, 2)
        if options.DepthMultiplier() != 1:
            raise Untranslatable("multiplies channels in a depthwise convolution")
        self._convolved(operator, options, weights, groups=len(weights))

    def _convolved(
        self,
        operator: tflite.Operator,
        options: tflite.Conv2DOptions | tflite.DepthwiseConv2DOptions,
        weights: F32,
        groups: int,
    ) -> None:
        if (options.DilationHFactor(), options.DilationWFactor()) != (1, 1):
            raise Untranslatable("dilates a convolution")
        self._windowed(
            operator,
            options,
            "Conv",
            (int(weights.shape[2]), int(weights.shape[3])),
            (
                self._stored(operator.Inputs(1), weights),
                self._stored(operator.Inputs(2), self._weights(operator.Inputs(2))),
            ),
            group=groups,
        )

    def _max_pool(self, operator: tflite.Operator) -> None:
        options = _options(operator, tflite.Pool2DOptions())
        kernel = (options.FilterHeight(), options.FilterWidth())
        self._windowed(operator, options, "MaxPool", kernel)

    def _windowed(
        self,
        operator: tflite.Operator,
        options: tflite.Conv2DOptions | tflite.DepthwiseConv2DOptions | tflite.Pool2DOptions,
        kind: str,
        kernel: tuple[int, int],
        constants: tuple[str, ...] = (),
        **attributes: int,
    ) -> None:
        """Add a node that slides a window; its padding follows from the sizes before and after."""
        given, made = operator.Inputs(0), operator.Outputs(0)
        strides = (options.StrideH(), options.StrideW())
        sizes = zip(self._shape(given)[1:3], self._shape(made)[1:3], kernel, strides, strict=True)
        missing = [max((after - 1) * s + k - before, 0) for before, after, k, s in sizes]
        # An odd number is larger at the end: TFLite's "same".
        pads = [*(m // 2 for m in missing), *(m - m // 2 for m in missing)]
        self._made(
            operator,
            kind,
            self._turned[given],
            *constants,
            kernel_shape=kernel,
            strides=strides,
            pads=pads,
            **attributes,
        )

    def _prelu(self, operator: tflite.Operator) -> None:
        slopes = self._weights(operator.Inputs(1))
        if slopes.shape[:-1] != (1, 1):
            raise Untranslatable("has a PRELU whose slopes differ from place to place")
        stored = self._stored(operator.Inputs(1), slopes.reshape(-1, 1, 1))
        self._made(operator, "PRelu", self._turned[operator.Inputs(0)], stored)

    def _add_up(self, operator: tflite.Operator) -> None:
        _options(operator, tflite.AddOptions())
        terms = (self._turned.get(operator.Inputs(side)) for side in (0, 1))
        names = [name for name in terms if name]
        if len(names) != 2 or self._shape(operator.Inputs(0)) != self._shape(operator.Inputs(1)):
            raise Untranslatable("adds what is not two pictures of one size")
        self._made(operator, "Add", *names)

    def _pad(self, operator: tflite.Operator) -> None:
        margins = self._constant(operator.Inputs(1), tflite.TensorType.INT32, np.int32)
        turned = margins[list(_TO_NCHW)].T.reshape(-1).astype(np.int64)
        stored = self._stored(operator.Inputs(1), turned)
        self._made(operator, "Pad", self._turned[operator.Inputs(0)], stored)

    # Steps

    def _made(
        self,
        operator: tflite.Operator,
        kind: str,
        *inputs: str,
        **attributes: int | tuple[int, ...] | list[int],
    ) -> None:
        made = operator.Outputs(0)
        self._turned[made] = self._add(kind, *inputs, output=f"t{made}", **attributes)

    def _add(
        self,
        kind: str,
        *inputs: str,
        output: str,
        **attributes: int | tuple[int, ...] | list[int],
    ) -> str:
        node = self._graph.node.add(op_type=kind, input=inputs, output=[output])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in sorted(attributes.items()))
        return output

    def _stored(self, tensor: int, values: NDArray[np.generic]) -> str:
        """Keep a constant under the number of the tensor that it was."""
        name = f"c{tensor}"
        if all(item.name != name for item in self._graph.initializer):
            content = np.ascontiguousarray(values)
            self._graph.initializer.append(numpy_helper.from_array(content, name))
        return name

    def _weights(self, tensor: int) -> F32:
        return self._constant(tensor, tflite.TensorType.FLOAT32, np.float32)

    def _constant(self, tensor: int, kind: int, dtype: type[Number]) -> NDArray[Number]:
        described = self._source.Tensors(tensor)
        buffer = self._model.Buffers(described.Buffer())
        if described.Type() != kind or not buffer.DataLength():
            raise Untranslatable(f"lacks {self._name(tensor)} as a constant {dtype.__name__}")
        content = buffer.DataAsNumpy().tobytes()
        return np.frombuffer(content, dtype).reshape(self._shape(tensor))

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._source.Tensors(tensor).ShapeAsNumpy().tolist())

    def _name(self, tensor: int) -> str:
        return str(self._source.Tensors(tensor).Name().decode())


def _options(operator: tflite.Operator, options: Options) -> Options:
    """Fill in an operator's options; an activation fused into it is refused."""
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    if options.FusedActivationFunction() != tflite.ActivationFunctionType.NONE:
        raise Untranslatable("fuses an activation into another operator")
    return options


def _described(name: str, shape: tuple[int | str, ...]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


_OPERATORS: Final[Mapping[str, Callable[[_Translation, tflite.Operator], None]]] = MappingProxyType(
    {
        "ADD": _Translation._add_up,
        "CONV_2D": _Translation._conv,
        "DEPTHWISE_CONV_2D": _Translation._depthwise_conv,
        "MAX_POOL_2D": _Translation._max_pool,
        "PAD": _Translation._pad,
        "PRELU": _Translation._prelu,
    }
)
