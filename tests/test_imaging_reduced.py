"""Large JPEGs are read with fewer pixels, and nobody who uses a picture needs to know."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from PIL import Image as Pillow

from knownface.imaging import Decoder, align, resize, surroundings, warp, warp_smoothly
from knownface.types import U8, Box, Image

WIDTH, HEIGHT = 2003, 1501


@cache
def smooth() -> U8:
    """A picture without detail, so that half of its pixels show all there is to see."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 60
    waves = [np.sin(x + y / 3), np.cos(y - x / 5), np.sin(x / 2) * np.cos(y / 2)]
    return np.asarray(np.stack([127 + 110 * wave for wave in waves], axis=-1), np.uint8)


@cache
def jpeg(orientation: int = 1, mode: str = "RGB") -> bytes:
    picture = Pillow.fromarray(smooth()).convert(mode)
    exif = picture.getexif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=97, subsampling=0, exif=exif)
    return file.getvalue()


@pytest.fixture(scope="module")
def both() -> tuple[Image, Image]:
    decoder, data = Decoder(), jpeg()
    return decoder.decode(data), decoder.decode(data, 640)


@pytest.mark.parametrize(
    ("least", "longer"),
    [(0, 2003), (1500, 2003), (1002, 2003), (1001, 1002), (501, 1002), (250, 251)],
)
def test_no_more_pixels_are_read_than_are_enough(least: int, longer: int) -> None:
    image = Decoder().decode(jpeg(), least)
    assert max(image.pixels.shape) == longer
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert (image.whole is None) == (longer == WIDTH)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_reduced_picture_is_upright_and_in_its_colours(orientation: int, mode: str) -> None:
    data = jpeg(orientation, mode)
    whole, reduced = Decoder().decode(data), Decoder().decode(data, 640)
    assert (reduced.width, reduced.height) == (whole.width, whole.height)
    assert reduced.pixels.shape[0] * 2 == pytest.approx(whole.pixels.shape[0], abs=1)
    one, other = (resize(image, 400, 400).pixels.astype(int) for image in (whole, reduced))
    assert np.abs(one - other).mean() < 2


def test_a_reduced_picture_can_be_read_whole(both: tuple[Image, Image]) -> None:
    whole, reduced = both
    assert reduced.whole is not None
    assert np.array_equal(reduced.whole().pixels, whole.pixels)


def test_other_formats_are_read_with_all_their_pixels() -> None:
    file = io.BytesIO()
    Pillow.fromarray(smooth()).save(file, "PNG", compress_level=1)
    image = Decoder().decode(file.getvalue(), 200)
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)
    assert image.whole is None


def test_crops_of_a_reduced_picture_lie_where_those_of_the_whole_one_do(
    both: tuple[Image, Image],
) -> None:
    landmarks = np.array(
        [[900, 600], [1200, 640], [1040, 800], [910, 920], [1150, 950]], np.float32
    )
    matrix = np.array([[0.3, 0.05, -200.0], [-0.05, 0.3, -100.0]])
    box = Box(700.5, 400.25, 1300, 1100, 1.0)
    cuts: list[Callable[[Image], U8]] = [
        lambda image: align(image, landmarks),
        lambda image: warp(image, matrix, 150),
        lambda image: warp_smoothly(image, matrix, 150),
        lambda image: surroundings(image, box, 1.3, 96),
        lambda image: surroundings(image, Box(-50, 1200, 400, 1600, 1.0), 1.3, 96),
    ]
    for cut in cuts:
        one, other = (cut(image).astype(int) for image in both)
        difference = np.abs(one - other)
        assert difference.mean() < 2
        assert np.percentile(difference, 99) < 12
