"""Bytes to pixels and back: what a file is, decoding within limits, and the geometry of faces.

formats     what bytes are, told from their content
container   a file reduced to what its pixels need: one reader a format
            (jpeg, tiff, and containers for the others)
decoder     the door: limits, memory, errors
colour      any pixel mode to upright 8-bit RGB
pillow      the codec library, and what of its process-wide behaviour is settled once
geometry    resize, warp, align, a square around a face
encode      JPEG and PNG
"""

from __future__ import annotations

from knownface.imaging.decoder import Decoder, ImageLimits
from knownface.imaging.encode import encode_jpeg, encode_png, thumbnail
from knownface.imaging.formats import media_type
from knownface.imaging.geometry import (
    align,
    resize,
    similarity_transform,
    surroundings,
    warp,
    warp_smoothly,
)

__all__ = [
    "Decoder",
    "ImageLimits",
    "align",
    "encode_jpeg",
    "encode_png",
    "media_type",
    "resize",
    "similarity_transform",
    "surroundings",
    "thumbnail",
    "warp",
    "warp_smoothly",
]
