"""The names of a graph's first nodes, read from the file itself.

Whether a network of InsightFace's subtracts and scales by itself shows in these names alone. An
ONNX file is a protobuf message; walking its outermost fields takes no library and, because the
nodes come first, no more than a page or two of a file of any size.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Field numbers: ModelProto.graph, GraphProto.node, NodeProto.name.
_GRAPH: Final = 7
_NODE: Final = 1
_NAME: Final = 3

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_LOOKED_AT: Final = 8
_BY_BATCH_NORM: Final = 3

Span = tuple[int, int]


def normalises_itself(path: Path, *, by_batch_norm: bool) -> bool:
    """Tell whether the graph begins by subtracting and scaling, as InsightFace's library tells it.

    Its rule: among the first eight nodes one is named Sub… or _minus… and one Mul… or _mul…; with
    `by_batch_norm`, which it uses for all but embedders, also if one of the first three is called
    bn_data. Raises ValueError if the file is no ONNX file, OSError if it cannot be read.
    """
    names = first_names(path, _LOOKED_AT)
    subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
    scales = any(name.startswith(("Mul", "_mul")) for name in names)
    return (subtracts and scales) or (by_batch_norm and "bn_data" in names[:_BY_BATCH_NORM])


def first_names(path: Path, count: int) -> list[str]:
    """Return the names of the first nodes, "" where one has none; ValueError if there are no nodes.

    OSError when the file cannot be read.
    """
    names: list[str] = []
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,  # ValueError when empty
    ):
        try:
            for node in _graph_nodes(data):
                found = (data[a:b] for field, (a, b) in _fields(data, node) if field == _NAME)
                names.append(next(found, b"").decode("utf-8", "replace"))
                if len(names) == count:
                    break
        except IndexError:
            raise ValueError("the file ends too early") from None
    if not names:
        raise ValueError("the file has no graph")
    return names


def _graph_nodes(data: mmap.mmap) -> Iterator[Span]:
    for field, graph in _fields(data, (0, len(data))):
        if field == _GRAPH:
            yield from (node for inner, node in _fields(data, graph) if inner == _NODE)


def _fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, Span]]:
    """Yield number and content of each field of a message; what is not bytes has no content."""
    at, end = span
    while at < end:
        key, at = _varint(data, at)
        kind, start = key & 7, at
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _BYTES:
            length, start = _varint(data, at)
            at = start + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError("the file is no ONNX file")
        if at > end:
            raise ValueError("the file ends too early")
        yield key >> 3, (start, at)


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("the file is no ONNX file")
