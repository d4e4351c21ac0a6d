"""TIFF files, and the small TIFF directory that EXIF data is."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from knownface.imaging.container import Container, check_scans, xmp_orientation
from knownface.imaging.formats import Format

# Bytes of one value of each field type.
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
                 16: 8, 17: 8, 18: 8}  # fmt: skip
_WHOLE: Final = {1: "B", 3: "H", 4: "L", 16: "Q"}

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 259, 262, 274
_STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _XMP = 273, 322, 323, 324, 700

# All that decoding needs: layout, compression, colours, and the tables of JPEG inside TIFF. The
# orientation is left out because we turn the picture ourselves.
_NEEDED: Final = frozenset({
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, _STRIPS, 277, 278, 279, 284, 292, 293,
    317, 320, _TILE_WIDTH, _TILE_HEIGHT, _TILES, 325, 338, 339, 347, 529, 530, 531, 532,
    *range(512, 522),  # JPEG inside TIFF, the old way
})  # fmt: skip

# The two ways of JPEG inside TIFF, and the marks of a progressive frame and of a scan.
_JPEG: Final = frozenset({6, 7})
_PROGRESSIVE, _SCAN = b"\xff\xc2", b"\xff\xda"

# Pillow makes several objects of each strip; beyond any real picture that is an attack on memory.
_MOST_PIECES: Final = 100_000
# libtiff holds one whole tile, however small the picture.
_MOST_TILE_PIXELS: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One field: `field` holds its value or an offset; `start` is where the value lies."""

    kind: int
    count: int
    field: bytes
    start: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory of a TIFF structure: its byte order and its readable entries by tag."""

    order: str
    big: bool
    entries: dict[int, Entry]

    def number(self, data: bytes, tag: int, default: int = 0) -> int:
        """Return the first value of a field of whole numbers, `default` when there is none."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _WHOLE or not entry.count:
            return default
        return int(struct.unpack_from(self.order + _WHOLE[entry.kind], data, entry.start)[0])

    def count(self, tag: int) -> int:
        return self.entries[tag].count if tag in self.entries else 0


def read_directory(data: bytes) -> Directory:
    """Read the first directory; fields of unknown type or beyond the data's end are left out."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("it has no TIFF header")
    big = 43 in data[2:4]
    word, length = ("Q", 8) if big else ("L", 4)
    (at,) = struct.unpack_from(order + word, data, length)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    entries: dict[int, Entry] = {}
    step = 4 + 2 * length
    for start in range(at, min(at + count * step, len(data) - step + 1), step):
        tag, kind, number = struct.unpack_from(order + "HH" + word, data, start)
        field = start + 4 + length
        size = _SIZES.get(kind, 0) * number
        if size > length:
            (place,) = struct.unpack_from(order + word, data, field)
        else:
            place = field
        if size > 0 and place + size <= len(data):
            entry = Entry(kind, number, data[field : field + length], place)
            entries.setdefault(tag, entry)
    return Directory(order, big, entries)


def exif_orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Return the orientation in EXIF data or else in an XMP packet; 1 for nonsense or none."""
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        return _orientation(exif, read_directory(exif), xmp)
    except (ValueError, struct.error):
        return xmp_orientation(xmp)


def _orientation(data: bytes, directory: Directory, xmp: bytes) -> int:
    turn = directory.number(data, _ORIENTATION)
    return turn if 1 <= turn <= 8 else xmp_orientation(xmp)


def read_tiff(data: bytes) -> Container:
    """Reduce a TIFF file to its first picture."""
    directory = read_directory(data)
    if directory.big and directory.order == ">":
        raise ValueError("big-endian BigTIFF is not supported")
    tile = directory.number(data, _TILE_WIDTH) * directory.number(data, _TILE_HEIGHT)
    if tile > _MOST_TILE_PIXELS:
        raise ValueError(f"it has tiles of {tile / 1e6:.0f} megapixels")
    if max(directory.count(_STRIPS), directory.count(_TILES)) > _MOST_PIECES:
        raise ValueError("it is cut into far too many strips or tiles")
    width, height = directory.number(data, _WIDTH), directory.number(data, _HEIGHT)
    if directory.number(data, _COMPRESSION) in _JPEG and _PROGRESSIVE in data:
        check_scans(data.count(_SCAN), width * height)
    xmp = directory.entries.get(_XMP)
    packet = data[xmp.start : xmp.start + xmp.count] if xmp else b""
    return Container(
        Format.TIFF,
        _reduced(data, directory),
        width,
        height,
        orientation=_orientation(data, directory, packet),
        levels=_levels(data, directory),
        cost=12,  # libtiff may hold the whole picture as one strip of 8 bytes a pixel
    )


def _reduced(data: bytes, directory: Directory) -> bytes:
    """Append a directory of the needed fields alone and let the header point to it."""
    word, length = ("Q", 8) if directory.big else ("L", 4)
    order = directory.order
    kept = sorted((tag, entry) for tag, entry in directory.entries.items() if tag in _NEEDED)
    padding = b"\0" * (-len(data) % 8)
    parts = [
        data[:length],
        struct.pack(order + word, len(data) + len(padding)),
        data[2 * length :],
        padding,
        struct.pack(order + ("Q" if directory.big else "H"), len(kept)),
    ]
    for tag, entry in kept:
        parts.append(struct.pack(order + "HH" + word, tag, entry.kind, entry.count) + entry.field)
    parts.append(bytes(length))  # no further directory
    return b"".join(parts)


def _levels(data: bytes, directory: Directory) -> tuple[int, int]:
    """Return the grey values of black and white, which differ for 12 bits and in negatives."""
    white = 0xFFF if directory.number(data, _BITS) == 12 else 0xFFFF
    return (white, 0) if directory.number(data, _PHOTOMETRIC, 1) == 0 else (0, white)
