"""Writing small ONNX files by hand, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
IR_VERSION: Final = 9


class Graph:
    """Writes an ONNX graph node by node; every method returns the name of a tensor."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(
        self,
        operator: str,
        *inputs: str,
        output: str = "",
        named: str = "",
        **attributes: int | list[int],
    ) -> str:
        name = output or f"t{len(self._nodes)}"
        node = helper.make_node(operator, list(inputs), [name], name=named)
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self._nodes.append(node)
        return name

    def split(self, tensor: str, parts: int) -> list[str]:
        names = [f"{tensor}_{part}" for part in range(parts)]
        sizes = self.constant(np.ones(parts, np.int64))
        self._nodes.append(helper.make_node("Split", [tensor, sizes], names, axis=1))
        return names

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def length(self, tensor: str, axis: int) -> str:
        """The length of an axis, a float scalar."""
        found = self.add("Gather", self.add("Shape", tensor), self.constant(np.array(axis)))
        return self.add("Cast", found, to=TensorProto.FLOAT)

    def positions(self, length: str, axis: int) -> str:
        """0, 1, 2 … along that axis of [1, 1, h, w]."""
        counted = self.add("Range", self.number(0), length, self.number(1))
        shape = [-1, 1] if axis == 2 else [1, -1]
        return self.add("Reshape", counted, self.constant(np.array([1, 1, *shape])))

    def pool(self, tensor: str, kernel: list[int]) -> str:
        return self.add("MaxPool", tensor, kernel_shape=kernel, strides=kernel)

    def slice(self, tensor: str, axis: int, *, step: int) -> str:
        bounds = [np.array([value]) for value in (0, 2**31, axis, step)]
        return self.add("Slice", tensor, *(self.constant(bound) for bound in bounds))

    def shift(self, tensor: str, axis: int, by: int, edge: str, length: str) -> str:
        """Move the values along the axis by so many places; `edge` comes in from outside."""
        pads = np.zeros(8, np.int64)
        pads[axis if by > 0 else axis + 4] = abs(by)
        padded = self.add("Pad", tensor, self.constant(pads), edge)
        start = self.constant(np.array([max(0, -by)]))
        whole = self.add("Cast", length, to=TensorProto.INT64)
        end = self.add("Add", whole, start)
        return self.add("Slice", padded, start, end, self.constant(np.array([axis])))

    def serialize(
        self,
        name: str,
        shape: Sequence[int | str],
        outputs: Mapping[str, tuple[int | str, ...]],
    ) -> bytes:
        """Return the file of a model with this one input and these outputs, checked."""
        given = helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
        wanted = [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, list(size))
            for output, size in outputs.items()
        ]
        graph = helper.make_graph(self._nodes, "tiny", [given], wanted, self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="knownface-tests",
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))
