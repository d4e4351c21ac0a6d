"""Pictures for people: the faces that were found, framed and named."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from knownface.types import Face, Image

FORMATS: Final = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
}

KNOWN: Final = (0, 158, 115)
UNKNOWN: Final = (213, 94, 0)
PAPER: Final = (255, 255, 255)

# Found on most systems; the font inside Pillow has Latin letters only.
_FONT: Final = "DejaVuSans.ttf"


@dataclass(frozen=True, slots=True)
class Label:
    """A face, the words that belong to it, and whether it is somebody known."""

    face: Face
    text: str = ""
    known: bool = True


def annotate(image: Image, labels: Sequence[Label]) -> Pillow.Image:
    """Return the picture with a frame, the landmarks and the words of each face drawn onto it."""
    canvas = Pillow.fromarray(image.pixels)
    draw = ImageDraw.Draw(canvas)
    line = max(2, round(max(canvas.size) / 400))
    font = _font(max(12, round(max(canvas.size) / 50)))
    for label in labels:
        _frame(draw, label, line)
    for label in labels:  # after all frames, so that no frame crosses a name
        if label.text:
            _write(draw, label, font, line)
    return canvas


def encoded(picture: Pillow.Image, form: str) -> bytes:
    """Return the picture as a file of one of FORMATS."""
    stream = io.BytesIO()
    picture.save(stream, form, quality=92)
    return stream.getvalue()


def format_of(path: Path) -> str | None:
    """Return the format that a file's name asks for, None when it is not one of FORMATS."""
    return FORMATS.get(path.suffix.lower())


def _frame(draw: ImageDraw.ImageDraw, label: Label, line: int) -> None:
    box = label.face.box
    colour = KNOWN if label.known else UNKNOWN
    draw.rectangle((box.x_min, box.y_min, box.x_max, box.y_max), outline=colour, width=line)
    if label.face.landmarks is not None:
        dot = max(1.0, min(line, box.width / 50))
        for x, y in label.face.landmarks.tolist():
            draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=colour)


def _write(
    draw: ImageDraw.ImageDraw, label: Label, font: ImageFont.FreeTypeFont, line: int
) -> None:
    """Write the words above the frame, or inside where there is no room, never off the picture."""
    box = label.face.box
    left, top, right, bottom = draw.textbbox((0, 0), label.text, font=font)
    width, height = right - left + 2 * line, bottom - top + 2 * line
    across, down = draw.im.size
    x = max(0.0, min(box.x_min, across - width))
    y = box.y_min - height if box.y_min >= height else box.y_min
    y = max(0.0, min(y, down - height))
    draw.rectangle((x, y, x + width, y + height), fill=KNOWN if label.known else UNKNOWN)
    draw.text((x + line - left, y + line - top), label.text, font=font, fill=PAPER)


def _font(size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(_FONT, size)
    except OSError:
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise RuntimeError(
                "Pillow was built without FreeType, so nothing can be written"
            ) from None
        return font
