"""Resizing, the transform between landmarks, aligned crops, and encoding."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image as Pillow

from knownface.imaging import (
    Decoder,
    align,
    encode_jpeg,
    encode_png,
    resize,
    similarity_transform,
    thumbnail,
    warp,
)
from knownface.types import U8, Image
from picture_files import (
    texture,
)

DECODER = Decoder()
PLAIN = texture(200, 160)

# Where an aligned face of 112 pixels has its eyes, nose tip and corners of the mouth.
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)


def decoded(data: bytes) -> U8:
    return DECODER.decode(data).pixels


def difference(one: U8, other: U8) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def applied(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:, :2].T + matrix[:, 2]


def similarity(angle: float, scale: float, dx: float, dy: float) -> NDArray[np.float64]:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, dx], [sin, cos, dy]])


def least_squares(src: NDArray[np.float64], dst: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same transform by another way: linear equations in a = s cos, b = s sin and the shift."""
    rows = [row for x, y in src for row in ([x, -y, 1, 0], [y, x, 0, 1])]
    (a, b, dx, dy), *_ = np.linalg.lstsq(np.array(rows), dst.ravel(), rcond=None)
    return np.array([[a, -b, dx], [b, a, dy]])


coordinates = st.integers(-500, 500).map(float)


def clouds(count: int) -> st.SearchStrategy[NDArray[np.float64]]:
    return arrays(np.float64, (count, 2), elements=coordinates)


points = st.integers(2, 8).flatmap(clouds)
pairs = st.integers(2, 8).flatmap(lambda count: st.tuples(clouds(count), clouds(count)))


@given(
    points, st.floats(-3.1, 3.1), st.floats(0.05, 20), st.floats(-900, 900), st.floats(-900, 900)
)
def test_a_known_similarity_is_found_again(
    src: NDArray[np.float64], angle: float, scale: float, dx: float, dy: float
) -> None:
    assume(np.ptp(src, axis=0).max() > 0)
    known = similarity(angle, scale, dx, dy)
    found = similarity_transform(src, applied(known, src))
    assert np.allclose(found, known, atol=1e-6)


@given(pairs)
def test_the_transform_is_the_least_squares_one(
    pair: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    src, dst = pair
    assume(np.ptp(src, axis=0).max() > 0)
    found, other = similarity_transform(src, dst), least_squares(src, dst)
    assert np.linalg.det(found[:, :2]) >= 0, "a face is never mirrored"
    assert np.allclose(applied(found, src), applied(other, src), atol=1e-6)


def test_mirrored_points_are_not_answered_by_a_mirror() -> None:
    mirrored = TEMPLATE.astype(np.float64) * [-1, 1]
    found = similarity_transform(TEMPLATE, mirrored)
    assert np.linalg.det(found[:, :2]) > 0
    assert np.allclose(found, least_squares(TEMPLATE.astype(np.float64), mirrored), atol=1e-6)


def test_points_that_coincide_are_only_shifted() -> None:
    found = similarity_transform(np.full((5, 2), 7.0), TEMPLATE)
    assert np.allclose(applied(found, np.array([[7.0, 7.0]])), TEMPLATE.mean(axis=0))
    assert np.allclose(found[:, :2], np.eye(2))


def test_a_face_at_the_template_is_its_own_crop() -> None:
    face = texture(112, 112)
    assert np.array_equal(align(Image(face), TEMPLATE), face)


@pytest.mark.parametrize("size", [56, 112, 224])
def test_the_template_grows_with_the_crop(size: int) -> None:
    face = texture(112, 112)
    crop = align(Image(face), TEMPLATE, size)
    assert crop.shape == (size, size, 3)
    landmarks = TEMPLATE.astype(int)
    for x, y in landmarks:
        there = crop[round(y * size / 112), round(x * size / 112)].astype(int)
        assert np.abs(there - face[y, x]).max() < 40


@pytest.mark.parametrize("angle", [-2.5, -0.4, 0.0, 0.3, 1.6])
@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_a_turned_and_scaled_face_is_aligned(angle: float, scale: float) -> None:
    face = texture(112, 112)
    placed = similarity(angle, scale, 0, 0)
    placed[:, 2] = 200 - placed[:, :2] @ [56, 56]
    photograph = warp(Image(face), placed, 400)
    crop = align(Image(photograph), applied(placed, TEMPLATE.astype(np.float64)).astype(np.float32))
    assert difference(crop[8:-8, 8:-8], face[8:-8, 8:-8]) < 3


def test_beyond_the_picture_a_crop_is_black() -> None:
    crop = align(Image(np.full((10, 10, 3), 255, np.uint8)), TEMPLATE + 500)
    assert not crop.any()


def test_a_face_at_the_far_end_of_a_very_wide_picture_is_found() -> None:
    wide = np.zeros((120, 40_000, 3), np.uint8)
    wide[4:116, -112:] = texture(112, 112)
    crop = align(Image(wide), TEMPLATE + np.array([40_000 - 112, 4], np.float32))
    assert difference(crop, texture(112, 112)) < 2


def test_shrinking_takes_the_mean_of_each_area() -> None:
    expected = PLAIN.reshape(40, 4, 50, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(Image(PLAIN), 50, 40).pixels - expected).max() <= 0.51


def test_growing_is_linear() -> None:
    edge = Image(np.array([[[0, 0, 0], [100, 200, 40]]], np.uint8))
    assert resize(edge, 4, 1).pixels[0, :, 0].tolist() == [0, 25, 75, 100]


def test_resizing_to_the_same_size_changes_nothing() -> None:
    image = Image(PLAIN)
    assert resize(image, 200, 160) is image
    assert resize(image, 20, 300).pixels.shape == (300, 20, 3)


def test_an_encoded_png_is_the_picture() -> None:
    assert np.array_equal(decoded(encode_png(Image(PLAIN))), PLAIN)


def test_an_encoded_jpeg_is_nearly_the_picture() -> None:
    assert difference(decoded(encode_jpeg(Image(PLAIN), quality=95)), PLAIN) < 6


@pytest.mark.parametrize(
    ("size", "expected"), [((600, 300), (100, 50)), ((30, 20), (30, 20)), ((900, 1), (100, 1))]
)
def test_a_thumbnail_is_shrunk_to_its_longer_side_and_never_enlarged(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    small = Pillow.open(io.BytesIO(thumbnail(Image(texture(*size)), 100)))
    assert (small.format, small.size) == ("JPEG", expected)
