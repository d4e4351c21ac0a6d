"""Crops of faces much larger than they are: each pixel shows all of what it covers."""

from __future__ import annotations

import numpy as np
import pytest

from knownface.imaging import resize, warp, warp_smoothly
from knownface.types import Image


@pytest.fixture
def noise() -> Image:
    rng = np.random.default_rng(1)
    return Image(rng.integers(0, 256, (256, 256, 3), np.uint8))


def shrink(factor: float) -> np.ndarray:
    # Middles of pixels, as `resize` maps them.
    shift = (1 / factor - 1) / 2
    return np.array([[1 / factor, 0, shift], [0, 1 / factor, shift]])


@pytest.mark.parametrize("factor", [2, 4])
def test_a_shrunken_crop_is_the_mean_of_what_it_covers(noise: Image, factor: int) -> None:
    size = 256 // factor
    found = warp_smoothly(noise, shrink(factor), size).astype(int)
    expected = resize(noise, size, size).pixels.astype(int)
    assert np.abs(found - expected).max() <= 1


def test_a_face_far_larger_than_its_crop_is_not_grainy(noise: Image) -> None:
    grain = warp(noise, shrink(8), 32).std()
    assert warp_smoothly(noise, shrink(8), 32).std() < 0.6 * grain


@pytest.mark.parametrize("factor", [0.5, 1, 1.9])
def test_a_crop_that_is_hardly_smaller_is_a_plain_one(noise: Image, factor: float) -> None:
    matrix = shrink(factor)
    assert np.array_equal(warp_smoothly(noise, matrix, 64), warp(noise, matrix, 64))


def test_points_that_all_coincide_give_a_crop_all_the_same(noise: Image) -> None:
    nothing = np.array([[0.0, 0, 10], [0, 0, 10]])
    assert warp_smoothly(noise, nothing, 32).shape == (32, 32, 3)
