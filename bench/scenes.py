"""The pictures of the bench: openly licensed portraits, laid out on a plain ground.

`make` fetches the portraits, with their credits, into .cache/portraits; nothing is made up of
people who did not agree to be published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from knownface.types import U8

GROUND = (116, 122, 128)
SMALL = (96, 120, 160, 200, 240, 288, 320, 400)  # pixels, of pictures as video calls send them
SMALL_TIMES = 3
QUALITY = 92
NAMES = ("person_a_2", "person_b_1", "person_b_2", "impostor_1", "impostor_2")


@dataclass(frozen=True)
class Scene:
    """A JPEG file of some width, and how many faces it shows."""

    name: str
    jpeg: bytes
    faces: int


def scenes(portraits: Path) -> dict[str, Scene]:
    """Return one face and eight faces, at 640 and at 1920 pixels."""
    people = [_read(portraits / f"{name}.jpg") for name in NAMES]
    made = {}
    for width, height in ((640, 480), (1920, 1440)):
        for count, columns in ((1, 1), (8, 4)):
            name = f"{width}px-{count}"
            pixels = _laid_out(people, width, height, count, columns)
            made[name] = Scene(name, _jpeg(pixels), count)
    return made


def mixed(portraits: Path) -> list[bytes]:
    """Return pictures of twenty sizes: in turn, a dozen small ones come to each large one."""
    large = [scene.jpeg for scene in scenes(portraits).values()]
    person = _read(portraits / f"{NAMES[0]}.jpg")
    small = [
        _jpeg(_laid_out([person], *size, 1, 1))
        for width in SMALL
        for size in ((width, width * 3 // 4), (width * 3 // 4, width))
    ] * SMALL_TIMES
    each = len(small) // len(large)
    return [
        picture
        for number, one in enumerate(large)
        for picture in (*small[number * each : (number + 1) * each], one)
    ]


def _laid_out(people: Sequence[U8], width: int, height: int, count: int, columns: int) -> U8:
    canvas = np.full((height, width, 3), GROUND, np.uint8)
    rows = count // columns
    cell_width, cell_height = width // columns, height // rows
    for number in range(count):
        person = people[number % len(people)]
        factor = 0.96 * min(cell_width / person.shape[1], cell_height / person.shape[0])
        shown = cv2.resize(person, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        top = cell_height * (number // columns) + (cell_height - shown.shape[0]) // 2
        left = cell_width * (number % columns) + (cell_width - shown.shape[1]) // 2
        canvas[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return canvas


def _read(path: Path) -> U8:
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise SystemExit(f"{path} is missing: run `make setup`")
    return np.asarray(pixels, np.uint8)


def _jpeg(pixels: U8) -> bytes:
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return bytes(data)
