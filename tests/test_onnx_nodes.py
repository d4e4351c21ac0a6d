"""Whether a file normalises by itself: told from its first nodes, without any library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from knownface.vision.onnx_nodes import first_names, normalises_itself
from onnx_graph import Graph


def graph_of(path: Path, *names: str) -> Path:
    """Write a chain of nodes with these names."""
    graph = Graph()
    tensor = "x"
    for place, name in enumerate(names):
        output = "y" if place == len(names) - 1 else ""
        tensor = graph.add("Neg", tensor, output=output, named=name)
    path.write_bytes(graph.serialize("x", (1,), {"y": (1,)}))
    return path


@pytest.mark.parametrize(
    ("names", "itself"),
    [
        (["Sub_0", "Mul_1", "Conv_2"], True),
        (["_minusscalar0", "_mulscalar0"], True),
        (["Mul", "Sub"], True),
        (["Conv_0", "PRelu_1"], False),
        (["Sub_0", "Conv_1"], False),
        (["Mul_0", "Conv_1"], False),
        (["a", "b", "c", "d", "e", "f", "Sub_6", "Mul_7"], True),
        (["a", "b", "c", "d", "e", "f", "g", "Sub_7", "Mul_8"], False),
        (["/Sub", "/Mul"], False),
        (["", ""], False),
    ],
    ids=str,
)
@pytest.mark.parametrize("by_batch_norm", [True, False])
def test_a_graph_normalises_if_it_subtracts_and_scales_among_its_first_eight_nodes(
    tmp_path: Path, names: list[str], itself: bool, by_batch_norm: bool
) -> None:
    path = graph_of(tmp_path / "x.onnx", *names)
    assert normalises_itself(path, by_batch_norm=by_batch_norm) is itself


def test_a_first_batch_normalisation_tells_it_of_all_but_embedders(tmp_path: Path) -> None:
    path = graph_of(tmp_path / "x.onnx", "id", "bn_data", "conv")
    assert normalises_itself(path, by_batch_norm=True)
    assert not normalises_itself(path, by_batch_norm=False)
    late = graph_of(tmp_path / "y.onnx", "a", "b", "c", "bn_data")
    assert not normalises_itself(late, by_batch_norm=True)


def test_the_names_are_those_that_the_library_of_the_format_reads(tmp_path: Path) -> None:
    graph = Graph()
    big = graph.constant(np.ones((300, 300), np.float32))
    last = graph.add("MatMul", "x", big, named="Ünïcode")
    graph.add("Softmax", last, output="y", named="", axis=1)
    path = tmp_path / "x.onnx"
    path.write_bytes(graph.serialize("x", (1, 300), {"y": (1, 300)}))
    assert first_names(path, 8) == [node.name for node in onnx.load(path).graph.node]
    assert first_names(path, 1) == ["Ünïcode"]


def test_constants_before_the_nodes_are_passed_over(tmp_path: Path) -> None:
    model = onnx.load(graph_of(tmp_path / "x.onnx", "Sub_0", "Mul_1"))
    nodes = onnx.GraphProto(node=model.graph.node).SerializeToString()
    rest = onnx.GraphProto()
    rest.CopyFrom(model.graph)
    rest.ClearField("node")
    graph = rest.SerializeToString() + nodes
    head = onnx.ModelProto(ir_version=9, producer_version="1").SerializeToString()
    content = head + b"\x3a" + _varint(len(graph)) + graph
    assert len(onnx.load_model_from_string(content).graph.node) == 2
    (tmp_path / "y.onnx").write_bytes(content)
    assert normalises_itself(tmp_path / "y.onnx", by_batch_norm=False)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\x09",
        b"PK\x03\x04 an archive",
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\xff" * 40,
        b"\x3a\x02\x0a\x7f",
        b"\x3a\x80",
        b"\x09" + b"\0" * 8 + b"\x0d" + b"\0" * 4,
    ],
    ids=str,
)
def test_what_is_no_onnx_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        first_names(path, 8)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"x\.onnx"):
        normalises_itself(tmp_path / "x.onnx", by_batch_norm=False)
