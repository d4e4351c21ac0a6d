"""From any pixel mode that a file may have to upright 8-bit RGB."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from PIL import Image as Pillow
from PIL.Image import Transpose

from knownface.types import U8

# Pictures are converted in strips of about this many pixels: what is copied on the way stays small.
_STRIP_PIXELS: Final = 1 << 18

# How to turn a picture of each EXIF orientation, and whether its first row ends up at the far end.
_TURNS: Final = {
    2: (Transpose.FLIP_LEFT_RIGHT, False),
    3: (Transpose.ROTATE_180, True),
    4: (Transpose.FLIP_TOP_BOTTOM, True),
    5: (Transpose.TRANSPOSE, False),
    6: (Transpose.ROTATE_270, True),
    7: (Transpose.TRANSVERSE, True),
    8: (Transpose.ROTATE_90, False),
}

_DEEP: Final = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_WITH_ALPHA: Final = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


def upright_rgb(picture: Pillow.Image, orientation: int, levels: tuple[int, int]) -> U8:
    """Return the loaded picture's pixels, uint8 [H, W, 3], turned as its orientation (1 to 8) says.

    What is transparent is laid on white, as viewers show it; CMYK, palettes and Lab are converted.
    16-bit grey runs from `levels[0]` (black) to `levels[1]`, deeper grey over the range it uses.
    """
    convert = _conversion(picture, levels)
    width, height = picture.size
    method, backwards = _TURNS.get(orientation, (None, False))
    sideways = orientation >= 5
    pixels = np.empty((width, height, 3) if sideways else (height, width, 3), np.uint8)
    for top, strip in _strips(picture):
        part = convert(strip)
        if method is not None:
            part = part.transpose(method)
        rows = strip.height
        first = height - top - rows if backwards else top
        if sideways:
            pixels[:, first : first + rows] = np.asarray(part)
        else:
            pixels[first : first + rows] = np.asarray(part)
    return pixels


def _strips(picture: Pillow.Image) -> Iterator[tuple[int, Pillow.Image]]:
    """Yield the picture in horizontal strips, each with the row where it begins."""
    width, height = picture.size
    rows = max(1, _STRIP_PIXELS // width)
    if rows >= height:
        yield 0, picture
        return
    for top in range(0, height, rows):
        yield top, picture.crop((0, top, width, min(top + rows, height)))


def _conversion(
    picture: Pillow.Image, levels: tuple[int, int]
) -> Callable[[Pillow.Image], Pillow.Image]:
    """Choose how strips of this picture become RGB."""
    if picture.mode in _DEEP:
        black, white = levels if picture.mode.startswith("I;16") else _range(picture)
        return lambda strip: _grey(strip, black, white)
    if picture.mode in _WITH_ALPHA or "transparency" in picture.info:
        # Writers that know no alpha leave it 0 everywhere; a picture of nothing was not meant.
        if picture.mode in ("RGBA", "LA") and picture.getbbox(alpha_only=True) is None:
            return lambda strip: strip.convert("RGB")
        return _on_white
    if picture.mode == "RGB":
        return lambda strip: strip
    return lambda strip: strip.convert("RGB")


def _on_white(strip: Pillow.Image) -> Pillow.Image:
    if strip.mode == "La":
        strip = strip.convert("LA")
    strip = strip.convert("RGBA")
    paper = Pillow.new("RGB", strip.size, "white")
    paper.paste(strip, mask=strip.getchannel("A"))
    return paper


def _grey(strip: Pillow.Image, black: float, white: float) -> Pillow.Image:
    with np.errstate(invalid="ignore"):  # a file may hold numbers that signal when they are touched
        values = np.asarray(strip).astype(np.float64)
        values -= black
        values *= 255.0 / (white - black)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    np.clip(values, 0.0, 255.0, out=values)
    grey = np.rint(values).astype(np.uint8)
    transparent = strip.info.get("transparency")
    if isinstance(transparent, int):
        grey[np.asarray(strip) == transparent] = 255
    return Pillow.fromarray(grey).convert("RGB")


def _range(picture: Pillow.Image) -> tuple[float, float]:
    """Return the values of black and white in a picture of 32-bit numbers, which do not say them.

    White is 1, 255 or 65535, the usual scales, unless that would leave the picture nearly black.
    """
    low, high = 0.0, -math.inf
    for _, strip in _strips(picture):
        values = np.asarray(strip)
        finite = values[np.isfinite(values)]
        if finite.size:
            low = min(low, float(finite.min()))
            high = max(high, float(finite.max()))
    if low == 0.0:
        usual = next((scale for scale in (1.0, 255.0, 65535.0) if high <= scale), high)
        high = usual if high > usual / 8 else high
    return (low, high) if low < high else (0.0, 1.0)
