"""The readers of PNG, GIF, BMP, WebP and ICO, and the table of all seven."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from knownface.imaging.container import Container
from knownface.imaging.formats import Format
from knownface.imaging.jpeg import read_jpeg
from knownface.imaging.tiff import exif_orientation, read_tiff

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_NEEDED_CHUNKS: Final = frozenset({b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_XMP_TEXT: Final = b"XML:com.adobe.xmp\0"
_RAW_EXIF: Final = b"Raw profile type exif\0"
_MOST_TEXT: Final = 1 << 16

# Pillow unpacks run-length-encoded bitmaps in Python, 8 megapixels a second.
_MOST_RLE_PIXELS: Final = 8_000_000
_RLE: Final = frozenset({1, 2})


def read_container(kind: Format, data: bytes) -> Container:
    """Reduce a file of this format to its picture; raises what `container` says when it is none."""
    return _READERS[kind](data)


def _read_png(data: bytes) -> Container:
    """Keep the picture's own chunks: no texts that unpack to gigabytes, no animation."""
    parts = [_PNG]
    meta: dict[bytes, bytes] = {}
    complete = False
    for kind, start, end in _png_chunks(data):
        if kind == b"IHDR" and len(parts) == 1:
            width, height = struct.unpack_from(">LL", data, start + 8)
            parts.append(data[start:end])
        elif kind in _NEEDED_CHUNKS and len(parts) > 1:
            parts.append(data[start:end])
        elif kind in (b"eXIf", b"iTXt", b"zTXt", b"tEXt"):
            _note_png(meta, kind, data[start + 8 : end - 4])
        complete = kind == b"IEND"
    if len(parts) == 1:
        raise ValueError("it has no header")
    turn = exif_orientation(meta.get(b"exif", b""), meta.get(b"xmp", b""))
    return Container(
        Format.PNG, b"".join(parts), width, height, orientation=turn, complete=complete
    )


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's type and span, header and checksum included; the last may be cut off."""
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, at)
        yield kind, at, at + 12 + length
        if kind == b"IEND":
            return
        at += 12 + length


def _note_png(meta: dict[bytes, bytes], kind: bytes, body: bytes) -> None:
    """Note the places where an orientation may stand: eXIf, XMP, and ImageMagick's text."""
    if kind == b"eXIf":
        meta[b"exif"] = body
    elif body.startswith(_XMP_TEXT):
        # Whether it is compressed and how, then a language and a title, each closed by a zero.
        flag, rest = body[len(_XMP_TEXT) :][:1], body[len(_XMP_TEXT) + 2 :]
        meta[b"xmp"] = _inflate(rest.split(b"\0", 2)[-1]) if flag == b"\1" else rest
    elif body.startswith(_RAW_EXIF) and b"exif" not in meta:
        text = body[len(_RAW_EXIF) :]
        text = _inflate(text[1:]) if kind == b"zTXt" else text
        try:
            # A line feed, the name, the length, then the data in hexadecimal digits.
            meta[b"exif"] = bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
        except ValueError:
            return


def _inflate(packed: bytes) -> bytes:
    """Unpack the beginning of a compressed text, enough to find an orientation in it."""
    try:
        return zlib.decompressobj().decompress(packed, _MOST_TEXT)
    except zlib.error:
        return b""


def _read_gif(data: bytes) -> Container:
    """Keep the first frame alone, on its screen."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = start = 13 + _gif_palette(flags)
    control = b""
    while (mark := data[at]) != 0x2C:
        if mark == 0x21:
            if data[at + 1] == 0xF9 and data[at + 2] == 4:
                control = data[at : at + 8]
            at = _gif_blocks_end(data, at + 2)
        elif mark == 0x3B:
            raise ValueError("it holds no picture")
        else:
            at += 1
    left, top, inner_width, inner_height = struct.unpack_from("<HHHH", data, at + 1)
    return Container(
        Format.GIF,
        b"".join([data[:start], control, data[at:]]),
        max(width, left + inner_width),
        max(height, top + inner_height),
        cost=4,
    )


def _gif_palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks_end(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _read_bmp(data: bytes) -> Container:
    width, height = _bitmap_size(data, 14)
    return Container(Format.BMP, data, width, height)


def _bitmap_size(data: bytes, at: int) -> tuple[int, int]:
    """Return width and height of the device-independent bitmap whose header begins at `at`."""
    (header,) = struct.unpack_from("<L", data, at)
    if header == 12:
        width, height = struct.unpack_from("<HH", data, at + 4)
        return int(width), int(height)
    width, height = struct.unpack_from("<ll", data, at + 4)
    (compression,) = struct.unpack_from("<L", data, at + 16)
    if compression in _RLE and width * abs(height) > _MOST_RLE_PIXELS:
        raise ValueError("run-length encoding is supported up to 8 megapixels")
    return int(width), abs(int(height))


def _read_webp(data: bytes) -> Container:
    width, height = _webp_size(data)
    meta: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sL", data, at)
        if kind in (b"EXIF", b"XMP "):
            meta[kind] = data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)
    turn = exif_orientation(meta.get(b"EXIF", b""), meta.get(b"XMP ", b""))
    # The library holds two canvases and hands over a third copy.
    return Container(Format.WEBP, data, width, height, orientation=turn, cost=12)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return the canvas size from the first chunk, before anything is allocated for it."""
    kind = data[12:16]
    if kind == b"VP8X":
        part = struct.unpack_from("<HBHB", data, 24)
        return 1 + part[0] + (part[1] << 16), 1 + part[2] + (part[3] << 16)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<L", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("its first chunk is of an unknown kind")


def _read_ico(data: bytes) -> Container:
    """Keep the largest picture, of those the one with most colours; a PNG in it is read as PNG."""
    (count,) = struct.unpack_from("<H", data, 4)
    entries = [
        struct.unpack_from("<BBBBHHLL", data, 6 + 16 * number)
        for number in range(min(count, (len(data) - 6) // 16))
    ]
    if not entries:
        raise ValueError("it holds no picture")
    best = max(entries, key=lambda entry: ((entry[0] or 256) * (entry[1] or 256), entry[5]))
    size, offset = best[6], best[7]
    if data[offset : offset + 8] == _PNG:
        return _read_png(data[offset:])
    frame = data[offset : offset + size]
    width, double_height = _bitmap_size(frame, 0)
    directory = struct.pack("<HHHBBBBHHLL", 0, 1, 1, *best[:6], len(frame), 22)
    return Container(Format.ICO, directory + frame, width, double_height // 2, cost=11)


_READERS: Final[Mapping[Format, Callable[[bytes], Container]]] = {
    Format.JPEG: read_jpeg,
    Format.PNG: _read_png,
    Format.GIF: _read_gif,
    Format.BMP: _read_bmp,
    Format.TIFF: read_tiff,
    Format.WEBP: _read_webp,
    Format.ICO: _read_ico,
}
