"""A square around a face: where it lies, and what it shows outside of the picture."""

from __future__ import annotations

import numpy as np
import pytest

from knownface.imaging import surroundings
from knownface.types import Box, Image


def ramp(width: int, height: int) -> Image:
    """Paint a picture whose red is x and whose green is y."""
    y, x = np.mgrid[0:height, 0:width]
    return Image(np.stack([x, y, x * 0], axis=2).astype(np.uint8))


def test_the_square_is_centred_on_the_box_and_as_wide_as_its_longer_side() -> None:
    crop = surroundings(ramp(200, 200), Box(60, 80, 80, 120, 1.0), 2.0, 80)

    assert crop.shape == (80, 80, 3)
    assert crop[0, 0].tolist() == [30, 60, 0]
    assert crop[-1, -1].tolist() == [109, 139, 0]


def test_outside_of_the_picture_its_edge_is_repeated() -> None:
    crop = surroundings(ramp(100, 100), Box(0, 90, 20, 110, 1.0), 2.0, 40)

    assert (crop[:, :10, 0] == 0).all()
    assert (crop[20:, :, 1] == 99).all()
    assert crop[0, 39].tolist() == [29, 80, 0]


def test_a_large_face_is_averaged_and_not_sampled() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200

    crop = surroundings(Image(stripes), Box(100, 100, 300, 300, 1.0), 1.0, 20)

    assert (crop == 100).all()


@pytest.mark.parametrize("box", [(-50, -50, -20, -20), (300, 10, 340, 50), (0, 0, 0.1, 0.1)])
def test_a_box_outside_of_the_picture_or_without_size_still_gives_a_square(
    box: tuple[float, float, float, float],
) -> None:
    assert surroundings(ramp(64, 48), Box(*box, 1.0), 1.35, 64).shape == (64, 64, 3)
