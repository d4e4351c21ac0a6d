"""The door: bytes in, an upright RGB picture out, or an error that says why not."""

from __future__ import annotations

import re
import struct
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final

from PIL.ImageFile import ImageFile

from knownface.errors import PayloadTooLarge, UnreadableImage
from knownface.imaging.budget import MemoryBudget
from knownface.imaging.colour import upright_rgb
from knownface.imaging.container import Container
from knownface.imaging.containers import read_container
from knownface.imaging.formats import recognise, refusal
from knownface.imaging.pillow import allow, open_picture, quieten
from knownface.types import U8, Image

# Decoding may take this much in all; the largest pictures may need more and then are decoded alone.
_WORKING_BYTES: Final = 512 << 20
# A picture of about a megapixel: as many at once as there are request threads do no harm.
_SMALL_BYTES: Final = 8 << 20
# As in JPEG. Pictures are converted row by row, so a single endless row would double the memory.
_LONGEST_SIDE: Final = 65_535
# JPEG decoders invent a block or two before they notice that there is no data.
_MOST_FILLED: Final = 0.99
# Nothing, a mere number, or a whole dump.
_MUTE_REASON: Final = re.compile(r"|decoder error -\d+|.{120,}")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """How large a picture may be: bytes of the file, pixels of the picture (width times height)."""

    max_bytes: int = 5 << 20
    max_pixels: int = 64_000_000


class Decoder:
    """Turns files into pictures within limits; one is shared by all threads.

    Pictures that are decoded at the same time share one memory budget: big ones wait their turn.
    """

    def __init__(self, limits: ImageLimits | None = None) -> None:
        self.limits = limits or ImageLimits()
        self._budget = MemoryBudget(_WORKING_BYTES, _SMALL_BYTES)
        allow(self.limits.max_pixels)

    def decode(self, data: bytes, least: int = 0) -> Image:
        """Return the first picture of a file, upright, in RGB; a broken one as far as it goes.

        Where `least` pixels along the longer side are enough, a JPEG of twice as many and more is
        read with a half, a quarter or an eighth of them, which takes a fraction of the time.
        Raises PayloadTooLarge when the file is too large, and UnreadableImage when it is empty, of
        a format that is not read, has too many pixels, or when nothing of it can be shown.
        """
        if len(data) > self.limits.max_bytes:
            raise PayloadTooLarge(
                f"The image has {len(data)} bytes;"
                f" {self.limits.max_bytes} are allowed (max_file_size)."
            )
        kind = recognise(data)
        if kind is None:
            raise UnreadableImage(refusal(data))
        quieten()
        try:
            container = read_container(kind, data)
            pixels, size = self._pixels(container, least)
            if pixels.shape[1::-1] == size:
                return Image(pixels)
            return Image(pixels, size, partial(self.decode, data))
        except UnreadableImage:
            raise
        except Exception as error:  # noqa: BLE001 - damaged files make codecs raise anything at all
            reason = _reason(error)
        # Raised out here so that it does not keep alive what was decoded when the error occurred.
        raise UnreadableImage(f"The {kind.title} picture cannot be read: {reason}.")

    def _pixels(self, container: Container, least: int) -> tuple[U8, tuple[int, int]]:
        """Return the upright pixels that were read, and the upright picture's width and height."""
        self._check(container.width, container.height)
        with (
            self._budget.hold(container.width * container.height * container.cost),
            closing(open_picture(container)) as picture,
        ):
            # The library read the header once more, and may have been told otherwise.
            self._check(*picture.size)
            size = picture.size
            _reduce(picture, least)
            failure = _load(picture)
            pixels = upright_rgb(picture, container.orientation, container.levels)
        if (failure or not container.complete) and not _shows_something(pixels):
            raise ValueError(failure or "it is cut short, nothing of it can be shown")
        return pixels, size if container.orientation < 5 else size[::-1]

    def _check(self, width: int, height: int) -> None:
        if width <= 0 or height <= 0:
            raise ValueError("its header gives it no size")
        if max(width, height) > _LONGEST_SIDE:
            raise UnreadableImage(
                f"The image is too long: {width} x {height} pixels; {_LONGEST_SIDE} are allowed."
            )
        if width * height > self.limits.max_pixels:
            raise UnreadableImage(
                f"The image has too many pixels: {width} x {height} ="
                f" {width * height / 1e6:.1f} megapixels;"
                f" {self.limits.max_pixels / 1e6:g} are allowed (max_image_pixels)."
            )


def _reduce(picture: ImageFile, least: int) -> None:
    """Have a JPEG's blocks decoded to fewer pixels each, `least` along the longer side or more."""
    longer = max(picture.size)
    if least and longer >= 2 * least:
        width, height = picture.size
        # Never smaller than asked for: the reader takes the next larger of its sizes.
        picture.draft(picture.mode, (width * least // longer, height * least // longer))


def _load(picture: ImageFile) -> str | None:
    """Decode; return what kept the rest from it, or None; raises when nothing was decoded."""
    try:
        picture.load()
    except Exception as error:  # noqa: BLE001 - as above; what was decoded until then is kept
        failure = _reason(error)
    else:
        return None
    picture.tile = []  # nothing left to be read
    try:
        picture.load()
    except Exception:  # noqa: BLE001 - as above; the first failure is the one to tell
        raise ValueError(failure) from None
    return failure


def _shows_something(pixels: U8) -> bool:
    """Tell whether the filling of what is missing, which reaches a corner, leaves anything."""
    corners = {tuple(pixels[row, column].tolist()) for row in (0, -1) for column in (0, -1)}
    most = _MOST_FILLED * pixels.shape[0] * pixels.shape[1]
    return all(
        sum(int((row == colour).all(axis=1).sum()) for row in pixels) < most for colour in corners
    )


def _reason(error: Exception) -> str:
    """Say for the sender what made reading fail; texts about Python's own troubles help nobody."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, (struct.error, IndexError, EOFError)):
        return "it ends too early"
    text = str(error)
    own = isinstance(error, (OSError, SyntaxError, ValueError)) and error.__cause__ is None
    if own and text.isprintable() and not _MUTE_REASON.fullmatch(text):
        return text.rstrip(".")
    return "it is damaged"
