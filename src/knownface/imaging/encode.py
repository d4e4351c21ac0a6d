"""Pictures to bytes."""

from __future__ import annotations

import io

from PIL import Image as Pillow

from knownface.imaging.geometry import resize
from knownface.types import Image


def encode_jpeg(image: Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(image.pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def encode_png(image: Image) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(image.pixels).save(buffer, "PNG")
    return buffer.getvalue()


def thumbnail(image: Image, longer_side: int) -> bytes:
    """Return a JPEG whose longer side has at most `longer_side` pixels; it is never enlarged."""
    scale = min(1.0, longer_side / max(image.width, image.height))
    width, height = (max(1, round(side * scale)) for side in (image.width, image.height))
    return encode_jpeg(resize(image, width, height))
