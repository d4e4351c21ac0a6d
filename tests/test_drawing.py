"""Annotated pictures: frames where the faces are, and words that can be read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from knownface import drawing
from knownface.drawing import KNOWN, UNKNOWN, Label
from knownface.types import Box, Face, Image


def grey(width: int = 400, height: int = 300) -> Image:
    return Image(np.full((height, width, 3), 128, np.uint8))


def face(x: float = 100, y: float = 100, side: float = 100) -> Face:
    points = np.array([(x + 20 + 10 * i, y + 40) for i in range(5)], np.float32)
    return Face(Box(x, y, x + side, y + side, 0.9), landmarks=points)


def pixels(image: Image, *labels: Label) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(drawing.annotate(image, labels), np.uint8)


def test_a_frame_stands_where_the_face_is() -> None:
    drawn = pixels(grey(), Label(face()))
    for x, y in ((100, 150), (200, 150), (150, 100), (150, 200)):
        assert tuple(drawn[y, x]) == KNOWN
    assert tuple(drawn[180, 150]) == (128, 128, 128)


def test_the_original_is_left_as_it_is() -> None:
    image = grey()
    drawing.annotate(image, [Label(face(), "Ada")])
    assert (image.pixels == 128).all()


def test_strangers_have_a_colour_of_their_own() -> None:
    drawn = pixels(grey(), Label(face(), "unknown", known=False))
    assert tuple(drawn[150, 100]) == UNKNOWN
    assert not (drawn == KNOWN).all(axis=2).any()


def test_a_name_stands_above_the_face() -> None:
    bare, named = pixels(grey(), Label(face())), pixels(grey(), Label(face(), "Ada"))
    rows = np.flatnonzero((bare != named).any(axis=(1, 2)))
    assert 60 < rows.min() < rows.max() <= 101


@pytest.mark.parametrize(
    ("x", "y"), [(0, 0), (300, 0), (300, 200), (0, 200), (-50, -50), (350, 250)]
)
def test_a_name_is_never_cut_off_at_an_edge(x: float, y: float) -> None:
    middle = pixels(grey(), Label(face(), "Ada Lovelace"))
    edge = pixels(grey(), Label(face(x, y), "Ada Lovelace"))
    white = [(picture == 255).all(axis=2).sum() for picture in (middle, edge)]
    assert white[0] == white[1] > 20


@pytest.mark.parametrize("text", ["", "Ünïcödé", "李雷", "عمر", "🙂", "a\nb", "x" * 300])
def test_any_name_can_be_written(text: str) -> None:
    assert pixels(grey(), Label(face(), text)).shape == (300, 400, 3)


def test_the_smallest_picture_can_be_drawn_on() -> None:
    assert pixels(grey(1, 1), Label(Face(Box(0, 0, 1, 1, 1.0)), "Ada")).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("name", "form"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.png", "PNG"), ("a.webp", "WEBP")]
)
def test_the_name_of_a_file_tells_its_format(name: str, form: str) -> None:
    assert drawing.format_of(Path(name)) == form
    content = drawing.encoded(drawing.annotate(grey(), []), form)
    assert Pillow.open(io.BytesIO(content)).format == form


def test_a_name_without_a_known_ending_has_no_format() -> None:
    assert drawing.format_of(Path("a.txt")) is None
