"""Chunks of an index as files that are written once and never changed.

A file begins with a page of text: what it is, a checksum, and what the numbers after it mean. They
lie as in memory, so that a full chunk is mapped where it is, by every process that reads the file.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from knownface.index.chunks import BLOCK_ROWS, View
from knownface.types import I8, I64, Bools

FORMAT: Final = f"knownface rows 2 {sys.byteorder}"
_HEAD: Final = 4096  # a page, so that what follows can be mapped
_BESIDES: Final = 17  # bytes of a row besides its code
_CHECKED: Final = 2**20  # bytes whose checksum is made at a time, while they are in the cache


@dataclass(frozen=True, slots=True)
class Rows:
    """What a chunk held: arrays [used, D] and [used], and what its codes are like (see View).

    All arrays are the content of a file. `mapped` tells that they may stay there, where others see
    what is written to them.
    """

    name: str
    level: int
    rows: int
    error: float
    length: float
    codes: I8
    keys: I64
    subjects: I64
    alive: Bools
    mapped: bool

    @property
    def used(self) -> int:
        return len(self.keys)


def write_rows(path: Path, view: View) -> None:
    """Write what a view shows of a chunk into a new file, zeros in place of what was removed."""
    used = slice(0, view.used)
    alive = view.alive[used]
    head = {
        "name": view.name,
        "level": view.level,
        "rows": view.rows,
        "used": view.used,
        "dimension": view.codes.shape[1],
        "error": view.error,
        "length": view.length,
    }
    content: list[I8 | I64 | Bools] = [
        np.where(alive[:, None], view.codes[used], np.int8(0)),
        np.where(alive, view.keys[used], 0),
        np.where(alive, view.subjects[used], 0),
        np.ascontiguousarray(alive),
    ]
    write_checked(path, FORMAT, head, [bytes_of(part) for part in content], _HEAD)


def read_rows(path: Path) -> Rows:
    """Map a file of rows: ValueError when it is damaged or of another kind."""
    with path.open("rb+") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE)
        try:
            head = check(mapping, FORMAT, _HEAD)
        except ValueError:
            if not os.fstat(file.fileno()).st_nlink:  # removed by now, and then erased from
                raise FileNotFoundError(path) from None
            raise
    used, dimension, rows = (int(str(head[name])) for name in ("used", "dimension", "rows"))
    content = memoryview(mapping)[_HEAD:]
    if len(content) != used * (dimension + _BESIDES):
        raise ValueError(f"{path} does not have the size of what it holds")
    parts = _parts(content, used, dimension)
    return Rows(
        name=str(head["name"]),
        level=int(str(head["level"])),
        rows=rows,
        error=float(str(head["error"])),
        length=float(str(head["length"])),
        codes=np.frombuffer(next(parts), np.int8).reshape(used, dimension),
        keys=np.frombuffer(next(parts), np.int64),
        subjects=np.frombuffer(next(parts), np.int64),
        alive=np.frombuffer(next(parts), np.bool_),
        mapped=used == rows and rows % BLOCK_ROWS == 0,
    )


def keys_in(path: Path) -> I64:
    """Return the keys in a file of rows, without a look at the rest: ValueError as `read_rows`."""
    with path.open("rb") as file:
        head = _head(file.read(_HEAD), FORMAT)[0]
        used, dimension = (int(str(head[name])) for name in ("used", "dimension"))
        file.seek(_HEAD + used * dimension)
        keys = np.frombuffer(file.read(8 * used), np.int64)
    if len(keys) != used:
        raise ValueError(f"{path} does not have the size of what it holds")
    return keys


def bytes_of(numbers: I8 | I64 | Bools) -> memoryview:
    """Return the memory of an array without gaps."""
    return memoryview(numbers.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # it is one


def write_checked(
    path: Path, kind: str, head: dict[str, object], content: Sequence[memoryview], room: int
) -> None:
    """Write a new file: `room` bytes of text, then the content; it is on the disk on return."""
    text = json.dumps(head).encode()
    checksum = zlib.crc32(text)
    for part in content:
        checksum = _checksum(part, checksum)
    lines = f"{kind}\n{checksum}\n".encode() + text
    if len(lines) >= room:
        raise ValueError(f"{len(lines)} bytes of text do not fit into {room}")
    with open(path, "xb", opener=_for_the_owner) as file:
        file.write(lines + b"\n" + bytes(room - len(lines) - 1))
        for part in content:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def check(content: mmap.mmap | bytes, kind: str, room: int) -> dict[str, object]:
    """Return the head of a file that `write_checked` wrote; ValueError if it is not as written."""
    view = memoryview(content)
    head, text, checksum = _head(bytes(view[:room]), kind)
    if _checksum(view[room:], zlib.crc32(text)) != checksum:
        raise ValueError("the checksum is another")
    return head


def _head(page: bytes, kind: str) -> tuple[dict[str, object], bytes, int]:
    found, _, rest = page.partition(b"\n")
    checksum, _, rest = rest.partition(b"\n")
    text, _, _ = rest.partition(b"\n")
    if found != kind.encode():
        raise ValueError("this is another kind of file, or of another version")
    head = json.loads(text)
    if not isinstance(head, dict):
        raise ValueError("this file does not say what it holds")
    return head, text, int(checksum)


def _checksum(content: memoryview, checksum: int) -> int:
    for start in range(0, len(content), _CHECKED):
        checksum = zlib.crc32(content[start : start + _CHECKED], checksum)
    return checksum


def _parts(content: memoryview, used: int, dimension: int) -> Iterator[memoryview]:
    start = 0
    for size in (dimension, 8, 8, 1):
        yield content[start : start + size * used]
        start += size * used


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
