"""Moving pixels: resizing, and laying a face onto the template that networks were trained with."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from knownface.types import F32, U8, Box, Image

# One request is one thread; OpenCV's own would only compete with those of other requests.
cv2.setNumThreads(1)

# Where the eyes, the nose tip and the corners of the mouth (image-left first) lie in an aligned
# crop of 112 pixels, for every network that was trained as ArcFace was.
_TEMPLATE: Final = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)
_TEMPLATE_SIZE: Final = 112

# Beyond so many samples a pixel, in each direction, nobody sees a difference.
_FINEST: Final = 4


def resize(image: Image, width: int, height: int) -> Image:
    """Return the picture at width x height: the mean of each area when shrinking, else linear."""
    there = image.pixels.shape[1], image.pixels.shape[0]
    if (width, height) == there:
        return image if image.size is None else Image(image.pixels)
    shrinking = width <= there[0] and height <= there[1]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return Image(_bytes(cv2.resize(image.pixels, (width, height), interpolation=method)))


def similarity_transform(
    src: NDArray[np.floating], dst: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the rotation, scale and shift that bring `src` nearest to `dst`, float64 [2, 3].

    Both are [N, 2]; least squares without reflection (Umeyama 1991). Points that all coincide have
    neither angle nor size: they are only shifted.
    """
    # As complex numbers, points are turned and scaled by a factor: a fit of one number.
    source, target = _as_complex(src), _as_complex(dst)
    source_mean, target_mean = source.mean(), target.mean()
    centred = source - source_mean
    spread = np.vdot(centred, centred).real
    factor = np.vdot(centred, target - target_mean) / spread if spread else 1.0 + 0.0j
    shift = target_mean - factor * source_mean
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def warp(image: Image, matrix: NDArray[np.float64], size: int) -> U8:
    """Return the square crop, uint8 [size, size, 3], that `matrix` [2, 3] maps the picture to.

    Linear interpolation; what lies outside of the picture is black.
    """
    return _bytes(
        cv2.warpAffine(
            image.pixels,
            _from_pixels(image, matrix),
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0),
        )
    )


def warp_smoothly(image: Image, matrix: NDArray[np.float64], size: int) -> U8:
    """Return the same crop as `warp`, each pixel of a shrunken one the mean of what it shows.

    Linear interpolation looks at four pixels alone: a large face in a small crop would be grainy.
    """
    shrunk = math.sqrt(abs(float(np.linalg.det(_from_pixels(image, matrix)[:, :2]))))
    factor = min(int(1 / shrunk), _FINEST) if shrunk > 0 else 1
    if factor < 2:
        return warp(image, matrix, size)
    finer = matrix * factor
    finer[:, 2] += (factor - 1) / 2  # so that its pixels lie evenly around those of the crop
    larger = warp(image, finer, size * factor)
    return _bytes(cv2.resize(larger, (size, size), interpolation=cv2.INTER_AREA))


def surroundings(image: Image, box: Box, reach: float, size: int) -> U8:
    """Return a square around a box, `reach` times its longer side, as uint8 [size, size, 3].

    The square is rounded to whole pixels; what lies outside of the picture repeats its edge.
    """
    x, y = image.factor
    height, width = image.pixels.shape[:2]
    side = max(1, round(reach * max(box.width * x, box.height * y)))
    left = round(((box.x_min + box.x_max) * x - side) / 2)
    top = round(((box.y_min + box.y_max) * y - side) / 2)
    right, bottom = left + side, top + side
    inside = image.pixels[
        min(max(0, top), height - 1) : max(1, bottom),
        min(max(0, left), width - 1) : max(1, right),
    ]
    beyond = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    if any(beyond):
        inside = _bytes(cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE))
    return resize(Image(inside), size, size).pixels


def align(image: Image, landmarks: F32, size: int = _TEMPLATE_SIZE) -> U8:
    """Return the face with these landmarks, float32 [5, 2], as a crop uint8 [size, size, 3]."""
    template = _TEMPLATE * (size / _TEMPLATE_SIZE)
    return warp(image, similarity_transform(landmarks, template), size)


def _from_pixels(image: Image, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the map, [2, 3], that begins at the pixels that were read instead of the picture's."""
    x, y = image.factor
    if x == y == 1:
        return matrix
    # Both count from the middle of their first pixel.
    scale = np.diag([1 / x, 1 / y])
    middle = np.array([(1 / x - 1) / 2, (1 / y - 1) / 2])
    return np.column_stack([matrix[:, :2] @ scale, matrix[:, :2] @ middle + matrix[:, 2]])


def _as_complex(points: NDArray[np.floating]) -> NDArray[np.complex128]:
    return np.ascontiguousarray(points, np.float64).view(np.complex128)[:, 0]


def _bytes(array: cv2.typing.MatLike) -> U8:
    return np.ascontiguousarray(array, np.uint8)
