"""JPEG files: the picture's own segments, without metadata, further pictures and trailing data."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Final

from knownface.imaging.container import MOST_SCANS, Container, check_scans
from knownface.imaging.formats import Format
from knownface.imaging.tiff import exif_orientation

_EOI: Final = b"\xff\xd9"
_END, _SCAN = 0xD9, 0xDA
_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"

# Stuffed zeros, fill bytes and restart marks stand inside a scan and end nothing.
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_ALONE: Final = frozenset({0x01, 0xD8})  # markers without a length
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# Frames, Huffman and quantisation tables, restart interval; JFIF and Adobe tell what colours mean.
_NEEDED: Final = frozenset(range(0xC0, 0xD0)) | {0xDB, 0xDC, 0xDD, 0xE0, 0xEE}


@dataclass(slots=True)
class _Header:
    """What stands before the first scan."""

    kept: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    width: int = 0
    height: int = 0
    progressive: bool = False
    exif: bytes = b""
    xmp: bytes = b""

    def take(self, code: int, segment: bytes) -> None:
        if code in _FRAMES:
            self.height, self.width = struct.unpack_from(">HH", segment, 5)
            self.progressive = code in _PROGRESSIVE
        if code in _NEEDED:
            self.kept.append(segment)
        elif code == 0xE1 and segment[4:].startswith(_EXIF):
            self.exif = self.exif or segment[4 + len(_EXIF) :]
        elif code == 0xE1 and segment[4:].startswith(_XMP):
            self.xmp = self.xmp or segment[4 + len(_XMP) :]


def read_jpeg(data: bytes) -> Container:
    """Reduce a JPEG file to its picture; one that is cut short is closed where it ends."""
    header, start = _header(data)
    scans, end, complete = _scans(data, start)
    if not scans:
        raise ValueError("it ends before the picture begins")
    check_scans(scans, header.width * header.height)
    return Container(
        Format.JPEG,
        b"".join([*header.kept, data[start:end], _EOI]),
        header.width,
        header.height,
        orientation=exif_orientation(header.exif, header.xmp),
        # Several scans are collected, two bytes a coefficient, before the first pixel comes out.
        cost=10 if header.progressive or scans > 1 else 7,
        complete=complete,
    )


def _header(data: bytes) -> tuple[_Header, int]:
    """Return what stands before the first scan, and where that scan begins."""
    header, at = _Header(), 2
    while found := _MARKER.search(data, at):
        start = found.start()
        code = data[start + 1]
        if code == _SCAN:
            return header, start
        if code in _ALONE or code == _END:
            at = start + 2
            continue
        at = start + 2 + struct.unpack_from(">H", data, start + 2)[0]
        header.take(code, data[start:at])
    raise ValueError("it ends before the picture begins")


def _scans(data: bytes, at: int) -> tuple[int, int, bool]:
    """Return how many scans there are, where they end, and whether an end mark closes them."""
    scans = 0
    while scans <= MOST_SCANS and (found := _MARKER.search(data, at)):
        start = found.start()
        code = data[start + 1]
        if code == _END:
            return scans, start, True
        if code in _ALONE:
            at = start + 2
            continue
        # A segment that is cut off would swallow the end mark that we append: leave it out.
        if start + 4 > len(data):
            return scans, start, False
        at = start + 2 + int(struct.unpack_from(">H", data, start + 2)[0])
        if at > len(data):
            return scans, start, False
        scans += code == _SCAN
    return scans, len(data), False
