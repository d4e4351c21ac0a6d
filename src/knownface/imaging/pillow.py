"""The codec library: a class for each format, and what of its global behaviour is settled once."""

from __future__ import annotations

import ctypes
import io
import logging
import re
import sys
import warnings
from collections.abc import Mapping
from typing import Final

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)
from PIL import Image as Pillow
from PIL.ImageFile import ImageFile

from knownface.imaging.container import Container
from knownface.imaging.formats import Format

_IGNORED: Final = re.compile(r"PIL\.")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_BIG: Final = 4 << 20


class _LeanWebp(WebPImagePlugin.WebPImageFile):
    """A WebP file that gives back its two canvases before memory for the pixels is taken."""

    def load_prepare(self) -> None:
        self._decoder = None
        super().load_prepare()


_CLASSES: Final[Mapping[Format, type[ImageFile]]] = {
    Format.JPEG: JpegImagePlugin.JpegImageFile,
    Format.PNG: PngImagePlugin.PngImageFile,
    Format.GIF: GifImagePlugin.GifImageFile,
    Format.BMP: BmpImagePlugin.BmpImageFile,
    Format.TIFF: TiffImagePlugin.TiffImageFile,
    Format.WEBP: _LeanWebp,
    Format.ICO: IcoImagePlugin.IcoImageFile,
}


def open_picture(container: Container) -> ImageFile:
    """Open with the class of the format that was recognised; anything may be raised.

    `PIL.Image.open` would guess again, hide the reason of a failure and measure by its own limit.
    """
    return _CLASSES[container.format](io.BytesIO(container.content))


def allow(pixels: int) -> None:
    """Raise Pillow's own guard against huge pictures where it would refuse what our limit admits.

    It stays, as a second line, because it also watches allocations in the depth of its readers.
    """
    guard = Pillow.MAX_IMAGE_PIXELS
    Pillow.MAX_IMAGE_PIXELS = None if guard is None else max(guard, pixels)


def quieten() -> None:
    """Let Pillow's warnings about odd files go unheard: what matters of them is raised as an error.

    Filters of warnings belong to the process, and `catch_warnings` is not safe in threads; so ours
    is put in front once, and again only when another has been put before it.
    """
    if tuple(warnings.filters[:1]) != (("ignore", None, Warning, _IGNORED, 0),):
        warnings.filterwarnings("ignore", module=_IGNORED.pattern)


def _mute() -> None:
    """Keep out of the logs what files make Pillow say to its logger, and libtiff to stderr."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    try:
        libtiff = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            function = libtiff[name]
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
            function(None)
    except (AttributeError, OSError):
        # A Pillow that is linked in another way: its libtiff stays talkative, and that is all.
        return


def _return_memory() -> None:
    """Let glibc hand big blocks back to the system when they are freed.

    Left alone it raises its own threshold to 32 MB, and then each thread that ever decoded a big
    picture keeps hundreds of megabytes for the next one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _BIG)
        # What small pictures need stays at hand: the default would give that back each time, too.
        mallopt(_M_TRIM_THRESHOLD, 2 * _BIG)


_mute()
_return_memory()
