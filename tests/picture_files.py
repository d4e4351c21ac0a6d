"""Picture files made byte by byte: kinds that Pillow cannot write, and hostile ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from knownface.types import U8

Chunk = tuple[bytes, bytes]
Tags = dict[int, tuple[int, list[int]]]
END: Chunk = (b"IEND", b"")


def saved(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def texture(width: int, height: int, seed: int = 7) -> U8:
    """A picture without symmetries that survives JPEG: smooth noise in all three channels."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3))
    picture = Pillow.fromarray(small.astype(np.uint8)).resize(
        (width, height), Pillow.Resampling.BICUBIC
    )
    return np.asarray(picture).copy()


def png(chunks: Iterable[Chunk]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in chunks:
        checksum = zlib.crc32(kind + body)
        parts.append(struct.pack(">L", len(body)) + kind + body + struct.pack(">L", checksum))
    return b"".join(parts)


def header(width: int, height: int, bits: int = 8, colour: int = 0) -> Chunk:
    return b"IHDR", struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, 0)


def raw_png(values: np.ndarray, colour: int, *extra: Chunk) -> bytes:
    """A PNG of these values, [H, W] or [H, W, C], at their own depth."""
    bits = values.dtype.itemsize * 8
    rows = values.astype(values.dtype.newbyteorder(">"))
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    height, width = values.shape[:2]
    return png([header(width, height, bits, colour), *extra, (b"IDAT", packed), END])


def flat_png(width: int, height: int) -> bytes:
    """A black picture whose file is a thousand times smaller than its pixels."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(3 * width + 1)) for _ in range(height)]
    packed = b"".join([*parts, packer.flush()])
    return png([header(width, height, colour=2), (b"IDAT", packed), END])


def turned_png(pixels: U8, orientation: int, way: str) -> bytes:
    """A PNG that says its orientation in one of the ways that programs write."""
    exif = Pillow.Exif()
    exif[0x112] = orientation
    xmp = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'
    info = PngInfo()
    if way == "ImageMagick":
        body = exif.tobytes()
        info.add_text("Raw profile type exif", f"\nexif\n{len(body):8}\n{body.hex()}\n", zip=True)
    elif way.startswith("XMP"):
        info.add_itxt("XML:com.adobe.xmp", xmp, zip=way.endswith("compressed"))
    else:
        return saved(Pillow.fromarray(pixels), "PNG", exif=exif)
    return saved(Pillow.fromarray(pixels), "PNG", pnginfo=info)


def tiff(width: int, height: int, body: bytes, tags: Tags, order: str = "<") -> bytes:
    """A TIFF of one strip; `tags` are (field type, values) and stand above the usual ones."""
    formats = {1: "B", 3: "H", 4: "L", 5: "LL"}
    fields: Tags = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]),
        273: (4, [8]), 277: (3, [1]), 278: (4, [height]), 279: (4, [len(body)]), **tags,
    }  # fmt: skip
    body += bytes(len(body) % 2)
    outside = b""
    entries = b""
    at = 8 + len(body)
    beyond = at + 2 + 12 * len(fields) + 4
    for tag, (kind, values) in sorted(fields.items()):
        pairs = formats[kind] * (len(values) // len(formats[kind]))
        value = struct.pack(order + pairs, *values)
        count = len(pairs) // len(formats[kind])
        if len(value) > 4:
            outside, value = outside + value, struct.pack(order + "L", beyond + len(outside))
        entries += struct.pack(order + "HHL", tag, kind, count) + value.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(order + "H", len(fields)) + entries + bytes(4)
    return mark + struct.pack(order + "L", at) + body + directory + outside


def icon(frame: bytes, side: int = 0, bits: int = 32) -> bytes:
    """An ICO with one picture; a side of 0 stands for 256."""
    entry = struct.pack("<BBBBHHLL", side, side, 0, 0, 1, bits, len(frame), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + frame


def bitmap(width: int, height: int, bits: int, body: bytes, compression: int = 0) -> bytes:
    """A BMP, with a palette up to 8 bits; without its first 14 bytes it is a bitmap for an ICO."""
    palette = b"".join(bytes([i, 255 - i, 7, 0]) for i in range(1 << bits)) if bits <= 8 else b""
    sizes = (40, width, height, 1, bits, compression, len(body), 0, 0, 0, 0)
    offset = 54 + len(palette)
    start = b"BM" + struct.pack("<LHHL", offset + len(body), 0, 0, offset)
    return start + struct.pack("<LllHHLLllLL", *sizes) + palette + body


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each costs the whole picture once more."""
    data = saved(Pillow.new("RGB", (side, side), "teal"), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + b"\xff\xd9"


def slow_exif() -> bytes:
    """A JPEG whose EXIF data, in many segments, is one field of half a million fractions."""
    count = 500_000
    fields = struct.pack("<HHLHH", 0x128, 3, 1, 2, 0) + struct.pack("<HHLL", 0x11A, 5, count, 50)
    exif = b"II*\0\x08\0\0\0\2\0" + fields + bytes(16) + struct.pack("<LL", 3, 7) * count
    parts = [b"\xff\xd8"]
    for at in range(0, len(exif), 60_000):
        part = b"Exif\0\0" + exif[at : at + 60_000]
        parts.append(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part)
    plain = saved(Pillow.new("RGB", (64, 64), "teal"), "JPEG")
    return b"".join([*parts, plain[20:]])  # without its JFIF segment, which has a resolution


def hostile_files() -> dict[str, bytes]:
    """Small files that would cost a careless reader gigabytes or minutes, by what they do."""
    dot = zlib.compress(bytes(2))
    long_text = b"note\0\0" + zlib.compress(bytes(4 << 20))
    gif = saved(Pillow.new("P", (8, 8), 3), "GIF")
    blocks = 13 + (3 << ((gif[10] & 7) + 1))
    strips = tiff(64, 64, b"", {273: (3, [8] * 1_000_000), 278: (4, [1])})
    row = zlib.compress(bytes(100_000), 9)
    tile: Tags = {322: (4, [30_000]), 323: (4, [30_000]), 324: (4, [8]), 325: (4, [len(row)])}
    huge_webp = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff\x3f\0" * 2 + bytes(4)
    return {
        "a JPEG with a thousand scans": many_scans(4000, 900),
        "a JPEG with ten thousand scans": many_scans(64, 10_000),
        "a JPEG with half a million fractions": slow_exif(),
        "a PNG with texts that unpack to 400 MB": png(
            [header(1, 1), *[(b"zTXt", long_text)] * 100, (b"IDAT", dot), END]
        ),
        "a PNG with 300 000 chunks": png(
            [header(1, 1), *[(b"teSt", b"")] * 300_000, (b"IDAT", dot), END]
        ),
        "a PNG of 100 gigapixels": png([header(300_000, 300_000), (b"IDAT", dot), END]),
        "a PNG with a second, larger header": png(
            [header(1, 1), header(300_000, 300_000), (b"IDAT", dot), END]
        ),
        "a PNG of one endless row": png([header(60_000_000, 1), (b"IDAT", dot), END]),
        "a GIF with a huge screen": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "a GIF with a million comments": gif[:blocks] + b"!\xfe\0" * 10**6 + gif[blocks:],
        "a TIFF with a million strips": strips,
        "a TIFF with a huge tile": tiff(64, 64, row, {**tile, 259: (3, [8])}),
        "a TIFF whose directory leads to itself": tiff(8, 8, bytes(64), {})[:-4] + b"\x48\0\0\0",
        "a BMP of run lengths": bitmap(8000, 8000, 8, b"\1\5\0\0" * 8000, compression=1),
        "an ICO with a PNG bomb": icon(png([header(60_000, 60_000), (b"IDAT", dot), END])),
        "an ICO with a huge bitmap": icon(bitmap(60_000, 120_000, 1, bytes(64))[14:], bits=1),
        "a WebP with a huge canvas": huge_webp,
    }  # fmt: skip
