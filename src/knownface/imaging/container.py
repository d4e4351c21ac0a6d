"""A picture file reduced to what its pixels need.

A file may carry far more than a picture: metadata, previews, further frames, and in hostile hands a
million directory entries or a text that unpacks to gigabytes. Each reader walks its format's
structure itself, takes size and orientation from it, and passes on only what the pixels need; the
codec library never sees the rest. Readers raise ValueError (or struct.error and IndexError where
the file ends too early); the decoder turns them into one answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from knownface.imaging.formats import Format

# A scan of a JPEG costs about a millisecond a megapixel even when it is nearly empty, and 5 MB hold
# a hundred thousand of those. Encoders write about ten; 33 are let through at 64 megapixels.
MOST_SCANS: Final = 1000
_MOST_SCANNED_PIXELS: Final = 2**31

_XMP_ORIENTATION: Final = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


@dataclass(frozen=True, slots=True)
class Container:
    """What a reader found: the bytes to decode and what their header promises.

    `width` and `height` are those of the stored picture; `orientation`, 1 to 8 as in EXIF, says how
    to turn it; `levels` are the values of black and white in 16-bit grey. `cost` is the memory, in
    bytes a pixel, at the worst moment of decoding; `complete` is False when the end of the file is
    known to be missing.
    """

    format: Format
    content: bytes
    width: int
    height: int
    orientation: int = 1
    levels: tuple[int, int] = (0, 0xFFFF)
    cost: int = 7
    complete: bool = True


def xmp_orientation(packet: bytes) -> int:
    """Return the orientation that an XMP packet names, 1 when it names none."""
    found = _XMP_ORIENTATION.search(packet)
    return int(found[1]) if found else 1


def check_scans(scans: int, pixels: int) -> None:
    """Raise ValueError when decoding so many JPEG scans of so many pixels would take seconds."""
    if scans > MOST_SCANS or scans * pixels > _MOST_SCANNED_PIXELS:
        raise ValueError("it has far more scans than a picture needs")
