"""What bytes are, told from their content: the seven formats that are read, names for others."""

from __future__ import annotations

import enum
import re
from typing import Final


class Format(enum.Enum):
    """A format that is read; the value is its media type."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    GIF = "image/gif"
    BMP = "image/bmp"
    TIFF = "image/tiff"
    WEBP = "image/webp"
    ICO = "image/x-icon"

    @property
    def title(self) -> str:
        return "WebP" if self is Format.WEBP else self.name


ACCEPTED: Final = "JPEG, PNG, GIF, BMP, TIFF, WebP and ICO"

# Two byte orders, each with a digit pair that some writers swap, and BigTIFF.
_TIFF: Final = (
    b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+",
)  # fmt: skip

_SIGNATURES: Final[tuple[tuple[Format, tuple[bytes, ...]], ...]] = (
    (Format.JPEG, (b"\xff\xd8\xff",)),
    (Format.PNG, (b"\x89PNG\r\n\x1a\n",)),
    (Format.GIF, (b"GIF87a", b"GIF89a")),
    (Format.BMP, (b"BM",)),
    (Format.TIFF, _TIFF),
    (Format.ICO, (b"\0\0\1\0",)),
)

_FOREIGN: Final[tuple[tuple[str, tuple[bytes, ...]], ...]] = (
    ("JPEG 2000", (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("JPEG XL", (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    ("JPEG XR", (b"II\xbc\1",)),
    ("a PDF document", (b"%PDF",)),
    ("PostScript", (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    ("a Photoshop picture (PSD)", (b"8BPS",)),
    ("a mouse cursor (CUR)", (b"\0\0\2\0",)),
    ("an Apple icon (ICNS)", (b"icns",)),
    ("QOI", (b"qoif",)),
    ("DDS", (b"DDS ",)),
    ("OpenEXR", (b"v/1\1",)),
    ("Radiance HDR", (b"#?RADIANCE", b"#?RGBE")),
    ("FITS", (b"SIMPLE  =",)),
    ("DjVu", (b"AT&TFORM",)),
    ("XPM", (b"/* XPM",)),
    ("WMF", (b"\xd7\xcd\xc6\x9a",)),
    ("a PNM picture", tuple(b"P%d" % kind + gap for kind in range(1, 8) for gap in (b"\n", b" "))),
    ("a video", (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1")),
    ("a sound file", (b"ID3", b"OggS", b"fLaC")),
    ("a ZIP archive", (b"PK\3\4", b"PK\5\6")),
    ("a compressed file", (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")),
    ("an Office document", (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)),
)  # fmt: skip

_BRANDS: Final = (
    ("AVIF", frozenset({b"avif", b"avis"})),
    ("HEIC", frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"})),
    ("HEIF", frozenset({b"mif1", b"msf1", b"mif2"})),
    ("a camera raw file (CR3)", frozenset({b"crx "})),
)
_RIFF: Final = {b"AVI ": "a video", b"WAVE": "a sound file"}
_BASE64: Final = re.compile(rb"data:[\w.+-]+/|[A-Za-z0-9+/_-]{40}")


def recognise(data: bytes) -> Format | None:
    """Return the format that these bytes begin like, or None when it is not one that is read."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Format.WEBP
    return next((kind for kind, magic in _SIGNATURES if data.startswith(magic)), None)


def media_type(data: bytes) -> str:
    """Return the media type of a picture that can be read, else `application/octet-stream`.

    Formats that are not read (SVG above all, which may carry scripts) are never named, so what is
    returned is safe to serve to a browser.
    """
    kind = recognise(data)
    return kind.value if kind else "application/octet-stream"


def refusal(data: bytes) -> str:
    """Say of bytes that no reader takes what they look like and what is accepted instead."""
    if not data:
        return "The image is empty: 0 bytes were received."
    name = _foreign(data)
    taken = f"it looks like {name}" if name else "its format is not recognised"
    return f"The image cannot be read: {taken}. Accepted are {ACCEPTED}."


def _foreign(data: bytes) -> str | None:
    for name, magic in _FOREIGN:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return _iso_media(data)
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[-18:-2] == b"TRUEVISION-XFILE":
        return "TGA"
    return _text(data[:1024])


def _iso_media(data: bytes) -> str:
    """Tell the members of the ISO media family apart by their brands, the major one first."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
    for name, family in _BRANDS:
        if brands[0] in family:
            # An AVIF file may call itself a mere HEIF container first.
            return "AVIF" if name == "HEIF" and b"avif" in brands else name
    return "a video"


def _text(head: bytes) -> str | None:
    """Name what looks like text; a picture still encoded as base64 is the common mistake."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"<svg" in start.lower() and start.startswith(b"<"):
        return "SVG"
    if start.lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if any(byte < 9 or 13 < byte < 32 or byte > 126 for byte in start):
        return None
    return "base64 text that was not decoded" if _BASE64.match(start) else "text"
