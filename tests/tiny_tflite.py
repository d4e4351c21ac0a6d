"""Small TFLite files: a network of every operator that has a translation, and what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

from tiny_carrier import spread_over

F32 = NDArray[np.float32]

SAME: Final = tflite.Padding.SAME
VALID: Final = tflite.Padding.VALID


@dataclass
class Network:
    """A TFLite graph that is written operator by operator; methods return a tensor's number."""

    shape: tuple[int, int, int]
    tensors: list[tuple[str, tuple[int, ...], NDArray[Any] | None]] = field(default_factory=list)
    operators: list[tuple[str, list[int], int, Callable[[Any], int]]] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.input = self.tensor("picture", (1, *self.shape))

    def tensor(self, name: str, shape: tuple[int, ...], values: NDArray[Any] | None = None) -> int:
        self.tensors.append((name, shape, values))
        return len(self.tensors) - 1

    def weights(self, *shape: int) -> int:
        count = len(self.tensors)
        values = (spread_over(shape, 89, 255, count - 127) / 99).astype(np.float32)
        return self.tensor(f"weights{count}", shape, values)

    def add(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: tuple[int, int, int],
        **options: int,
    ) -> int:
        """Add an operator whose options have those values, by the names the schema has for them."""
        made = self.tensor(f"{kind.lower()}{len(self.operators)}", (1, *shape))
        table = {"CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2D"}.get(kind)
        table = table or {"MAX_POOL_2D": "Pool2D", "ADD": "Add"}.get(kind, kind.title())

        def write(builder: Any) -> int:
            if kind == "PRELU":  # the only one here that has no options
                return 0
            return _table(builder, f"{table}Options", **options)

        self.operators.append((kind, list(inputs), made, write))
        return made

    def serialize(self) -> bytes:
        builder = flatbuffers.Builder(0)
        buffers = [_table(builder, "Buffer")]
        tensors = []
        for name, shape, values in self.tensors:
            number = 0
            if values is not None:
                data = builder.CreateByteVector(np.ascontiguousarray(values).tobytes())
                buffers.append(_table(builder, "Buffer", Data=data))
                number = len(buffers) - 1
            kind = tflite.TensorType.FLOAT32
            if values is not None and values.dtype == np.int32:
                kind = tflite.TensorType.INT32
            tensors.append(
                _table(
                    builder,
                    "Tensor",
                    Shape=builder.CreateNumpyVector(np.array(shape, np.int32)),
                    Type=kind,
                    Buffer=number,
                    Name=builder.CreateString(name),
                )
            )
        kinds = sorted({kind for kind, *_ in self.operators})
        codes = []
        for kind in kinds:
            code = getattr(tflite.BuiltinOperator, kind)
            codes.append(_table(builder, "OperatorCode", DeprecatedBuiltinCode=code))
        operators = []
        for kind, inputs, output, write in self.operators:
            operators.append(
                _table(
                    builder,
                    "Operator",
                    BuiltinOptions=write(builder),
                    OpcodeIndex=kinds.index(kind),
                    Inputs=builder.CreateNumpyVector(np.array(inputs, np.int32)),
                    Outputs=builder.CreateNumpyVector(np.array([output], np.int32)),
                )
            )
        graph = _table(
            builder,
            "SubGraph",
            Tensors=_vector(builder, tensors),
            Inputs=builder.CreateNumpyVector(np.array([self.input], np.int32)),
            Outputs=builder.CreateNumpyVector(np.array(self.outputs, np.int32)),
            Operators=_vector(builder, operators),
        )
        model = _table(
            builder,
            "Model",
            Version=3,
            OperatorCodes=_vector(builder, codes),
            Subgraphs=_vector(builder, [graph]),
            Buffers=_vector(builder, buffers),
        )
        builder.Finish(model, file_identifier=b"TFL3")
        return bytes(builder.Output())


def _table(builder: Any, kind: str, **fields: int) -> int:
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(builder, value)
    return int(getattr(tflite, f"{kind}End")(builder))


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def every_operator() -> Network:
    """Return a network of all operators, of odd and even sizes, with two outputs."""
    net = Network((9, 8, 3))
    stride = {"StrideH": 2, "StrideW": 2}
    one = {"StrideH": 1, "StrideW": 1}
    conv = {"DilationHFactor": 1, "DilationWFactor": 1, "Padding": SAME}
    first = net.add(
        "CONV_2D", [net.input, net.weights(4, 3, 3, 3), net.weights(4)], (5, 4, 4), **stride, **conv
    )
    bent = net.add("PRELU", [first, net.weights(1, 1, 4)], (5, 4, 4))
    deep = net.add(
        "DEPTHWISE_CONV_2D",
        [bent, net.weights(1, 3, 3, 4), net.weights(4)],
        (5, 4, 4),
        **one,
        **conv,
        DepthMultiplier=1,
    )
    both = net.add("ADD", [deep, bent], (5, 4, 4))
    pool = {**stride, "FilterHeight": 2, "FilterWidth": 2, "Padding": SAME}
    small = net.add("MAX_POOL_2D", [both], (3, 2, 4), **pool)
    margins = np.array([[0, 0], [0, 0], [0, 1], [1, 2]], np.int32)
    wide = net.add("PAD", [small, net.tensor("margins", (4, 2), margins)], (3, 3, 7))
    valid = {**conv, "Padding": VALID, "StrideH": 3, "StrideW": 3}
    for channels in (5, 1):
        inputs = [wide, net.weights(channels, 3, 3, 7), net.weights(channels)]
        net.outputs.append(net.add("CONV_2D", inputs, (1, 1, channels), **valid))
    return net


def evaluate(net: Network, picture: F32) -> list[F32]:
    """Compute the outputs from the definition of each operator, place by place, [channels] each."""
    found: dict[int, NDArray[Any]] = {
        i: v for i, (_, _, v) in enumerate(net.tensors) if v is not None
    }
    found[net.input] = picture.astype(np.float64)
    for kind, inputs, output, _ in net.operators:
        shape = net.tensors[output][1][1:]
        found[output] = _COMPUTED[kind](*(found[i] for i in inputs), shape=shape)
    return [found[output].reshape(-1).astype(np.float32) for output in net.outputs]


def _windows(
    picture: NDArray[Any], kernel: tuple[int, int], shape: tuple[int, ...], outside: float
) -> NDArray[Any]:
    """Return what each place of the output sees, [H, W, kh, kw, C]; what is missing goes evenly."""
    strides = [-(-before // after) for before, after in zip(picture.shape, shape[:2], strict=False)]
    margins = []
    for axis in (0, 1):
        missing = (shape[axis] - 1) * strides[axis] + kernel[axis] - picture.shape[axis]
        margins.append((max(missing, 0) // 2, max(missing, 0) - max(missing, 0) // 2))
    padded = np.pad(picture, (*margins, (0, 0)), constant_values=outside)
    rows = []
    for y in range(shape[0]):
        for x in range(shape[1]):
            top, left = y * strides[0], x * strides[1]
            rows.append(padded[top : top + kernel[0], left : left + kernel[1]])
    return np.stack(rows).reshape(*shape[:2], *kernel, picture.shape[2])


def _conv(x: Any, w: Any, b: Any, shape: Any) -> Any:
    return np.einsum("yxijc,oijc->yxo", _windows(x, w.shape[1:3], shape, 0), w) + b


def _depthwise(x: Any, w: Any, b: Any, shape: Any) -> Any:
    return np.einsum("yxijc,ijc->yxc", _windows(x, w.shape[1:3], shape, 0), w[0]) + b


_COMPUTED: Final[dict[str, Callable[..., Any]]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "MAX_POOL_2D": lambda x, shape: _windows(x, (2, 2), shape, -np.inf).max(axis=(2, 3)),
    "PRELU": lambda x, slopes, shape: np.where(x < 0, x * slopes, x).reshape(shape),
    "ADD": lambda a, b, shape: (a + b).reshape(shape),
    "PAD": lambda x, margins, shape: np.pad(x, margins[1:]).reshape(shape),
}
