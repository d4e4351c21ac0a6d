"""Draw masks and other coverings on unmasked faces, along a mesh of 468 points.

    python training/mask/draw.py FOLDER

FOLDER holds `faces.npz` and receives `drawn.npz`. Cloth comes from a random generator or from the
real masks of other faces of the same fold, so that none can be told from a fold that is trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from knownface.types import F32, U8
from knownface.vision.catalog import Catalog

cv2.setNumThreads(1)
Points = NDArray[np.float64]
Random = np.random.Generator

PATCH, WRITTEN = 192, 160
MESH = 192
MESH_REACH = 1.35 / 2.0  # of the patch, which shows twice the face
NONE, WORN, INCORRECT = 0, 1, 2
# What is drawn, what it is, and how often on each face.
KINDS: dict[str, tuple[int, float]] = {
    "worn": (WORN, 2.6),
    "below_nose": (INCORRECT, 2.6),
    "under_mouth": (INCORRECT, 1.3),
    "chin_out": (INCORRECT, 0.25),
    "scarf": (NONE, 0.2),
    "hand": (NONE, 0.3),
    "beard": (NONE, 0.25),
    "microphone": (NONE, 0.2),
    "shade": (NONE, 0.2),
}
# Vertices of the mesh along the jaw, from the image-left ear over the chin to the image-right one.
JAW = (
    *(234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
    *(377, 400, 378, 379, 365, 397, 288, 361, 323, 454),
)
TOP, CHIN, NOSE, LEFT, RIGHT = 10, 152, 4, 234, 454


@dataclass(frozen=True, slots=True)
class Surface:
    """A face's patch, uint8 [192, 192, 3] RGB, its mesh, float64 [468, 2], and its fold."""

    patch: U8
    mesh: Points
    fold: int

    @property
    def height(self) -> float:
        return float(np.linalg.norm(self.mesh[CHIN] - self.mesh[TOP]))

    @property
    def down(self) -> Points:
        return (self.mesh[CHIN] - self.mesh[TOP]) / self.height

    @property
    def across(self) -> Points:
        side = self.mesh[RIGHT] - self.mesh[LEFT]
        return side / max(float(np.linalg.norm(side)), 1e-6)


class Mesher:
    """Lays the 468-point mesh onto patches."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, patch: U8, points: F32) -> Points | None:
        """Return the mesh, float64 [468, 2], or None where no face is recognised."""
        eyes = points[1] - points[0]
        angle = 0.0 if np.isnan(eyes).any() else float(np.degrees(np.arctan2(eyes[1], eyes[0])))
        middle = (PATCH / 2, PATCH / 2)
        matrix = cv2.getRotationMatrix2D(middle, angle, 1 / MESH_REACH)
        crop = cv2.warpAffine(patch, matrix, (MESH, MESH), borderMode=cv2.BORDER_REPLICATE)
        tensor = crop[None].astype(np.float32) / 255
        mesh, flag = self._session.run(None, {self._input: tensor})[:2]
        if float(np.ravel(flag)[0]) < 0:  # a logit
            return None
        flat = np.ravel(mesh)[:1404].reshape(468, 3)[:, :2].astype(np.float64)
        back = cv2.invertAffineTransform(matrix)
        return np.asarray(flat @ back[:, :2].T + back[:, 2])


def between(a: Points, b: Points, share: float) -> Points:
    return a * (1 - share) + b * share


def jaw(face: Surface, first: int, last: int, longer: float, wider: float) -> list[Points]:
    """Return points outside of the jaw line: cloth stands off the skin."""
    centre = face.mesh[NOSE]
    line = []
    for vertex in JAW[first:last]:
        away = face.mesh[vertex] - centre
        low = max(0.0, float(away @ face.down) / (0.4 * face.height))
        side = float(np.sign(away @ face.across)) * wider * face.height
        line.append(face.mesh[vertex] + face.down * longer * face.height * low + face.across * side)
    return line


def outline(face: Surface, kind: str, rng: Random) -> tuple[Points, Points]:
    """Return the upper edge (5 points, image-right first) and the lower edge of a mask."""
    mesh, u = face.mesh, rng.random

    def shaken(a: int, b: int, share: float, by: float = 0.012) -> Points:
        noise = rng.normal(size=2) * face.height * by
        return np.asarray(between(mesh[a], mesh[b], share) + noise)

    if kind in ("worn", "chin_out"):
        top = [
            shaken(RIGHT, 323, 0.2 + 0.6 * u()),
            shaken(347, 280, u()),
            shaken(6, 5, 0.1 + 0.65 * u(), 0.008),
            shaken(118, 50, u()),
            shaken(LEFT, 93, 0.2 + 0.6 * u()),
        ]
    elif kind == "below_nose":
        centre = shaken(1, 2, u(), 0.006) if u() < 0.3 else shaken(2, 0, 0.8 * u(), 0.006)
        top = [
            shaken(323, 361, u()),
            shaken(425, 436, u(), 0.02),
            centre,
            shaken(205, 216, u(), 0.02),
            shaken(93, 132, u()),
        ]
    else:
        top = [
            shaken(361, 397, u()),
            shaken(432, 364, u(), 0.02),
            shaken(17, 199, 0.2 + 0.8 * u(), 0.008),
            shaken(212, 135, u(), 0.02),
            shaken(132, 172, u()),
        ]
    if kind == "chin_out":
        low = [
            shaken(132, 58, u()),
            shaken(58, 172, u()),
            shaken(135, 169, u()),
            shaken(17, 199, 0.1 + 0.5 * u(), 0.008),
            shaken(364, 394, u()),
            shaken(288, 397, u()),
            shaken(361, 288, u()),
        ]
    elif kind == "under_mouth":
        low = jaw(face, 4, 17, 0.1 + 0.25 * u(), 0.02 * u())
    else:
        low = jaw(
            face,
            2 if kind == "worn" else 3,
            19 if kind == "worn" else 18,
            0.02 + 0.1 * u(),
            0.02 * u(),
        )
    return np.array(top), np.array(low)


def area(edge: Points) -> F32:
    """Return how much of each pixel lies inside a smoothed outline, float32 [192, 192]."""
    for _ in range(2):
        following = np.roll(edge, -1, 0)
        edge = np.stack([edge * 0.75 + following * 0.25, edge * 0.25 + following * 0.75], 1)
        edge = edge.reshape(-1, 2)
    filled = np.zeros((PATCH, PATCH), np.uint8)
    cv2.fillPoly(filled, [np.round(edge * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return filled.astype(np.float32) / 255


def colour(rng: Random) -> F32:
    """Return a colour that masks have, RGB."""
    draw = rng.random()
    if draw < 0.30:
        base, spread = (150, 190, 215), 18.0
    elif draw < 0.47:
        base, spread = (225, 225, 225), 12.0
    elif draw < 0.64:
        base, spread = (32, 30, 30), 14.0
    elif draw < 0.71:
        base, spread = (150, 205, 170), 18.0
    elif draw < 0.80:  # like skin, the hardest
        base, spread = (205, 165, 140), 25.0
    else:
        return rng.uniform(5, 250, 3).astype(np.float32)
    return np.clip(np.array(base) + rng.normal(size=3) * spread, 5, 250).astype(np.float32)


def cloth(face: Surface, rng: Random) -> F32:
    """Return generated cloth for the whole patch, float32 [192, 192, 3], around its colour."""
    yy, xx = np.mgrid[0:PATCH, 0:PATCH].astype(np.float32)
    away = np.stack([xx - face.mesh[NOSE][0], yy - face.mesh[NOSE][1]], -1) / face.height
    down, across = away @ face.down, away @ face.across
    base = np.broadcast_to(colour(rng), (PATCH, PATCH, 3)).astype(np.float32)
    if rng.random() < 0.22:  # a pattern
        pace, slope = rng.uniform(8, 30), rng.normal()
        wave = np.sin((across + down * slope) * pace * 2)
        if rng.random() < 0.5:
            wave = np.sin(across * pace * 2) * np.sin(down * pace * 2)
        base = np.where((wave > 0.2)[..., None], colour(rng), base)
    if rng.random() < 0.12:  # a print or a valve
        spot = (across - rng.normal() * 0.15) ** 2 + (down - rng.uniform(0.1, 0.35)) ** 2
        base = np.where((spot < rng.uniform(0.01, 0.07) ** 1.5)[..., None], colour(rng), base)
    light = np.ones((PATCH, PATCH), np.float32)
    if rng.random() < 0.6:  # pleats
        pleat = np.sin(down * 2 * np.pi * rng.uniform(4, 9) + rng.uniform(0, 6))
        light += rng.uniform(0.02, 0.1) * np.sign(pleat) * np.abs(pleat) ** 0.5
    if rng.random() < 0.4:  # the ridge of a folded respirator
        light += rng.uniform(-0.15, 0.15) * np.tanh(across * rng.uniform(8, 30))
    folds = cv2.resize(rng.normal(size=(9, 9)).astype(np.float32), (PATCH, PATCH), interpolation=2)
    light += folds * rng.uniform(0, 0.09)
    light *= 1 - rng.uniform(0.1, 0.35) * np.clip(np.abs(across) * 1.6, 0, 1) ** 2
    return np.asarray(base * light[..., None] * rng.uniform(0.75, 1.1))


def shading(face: Surface, inside: F32) -> F32:
    """Return the light that falls on the covered skin, 1 on average, float32 [192, 192]."""
    grey = cv2.cvtColor(face.patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
    soft = cv2.GaussianBlur(grey, (0, 0), max(1.0, face.height * 0.07))
    mean = max(float((soft * inside).sum() / max(inside.sum(), 1)), 20.0)
    return np.asarray(np.clip(soft / mean, 0.45, 1.5) * np.clip(mean / 150, 0.35, 1.25))


def spaced(line: Points, count: int) -> Points:
    """Return so many points at equal distances along a line."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    at = np.linspace(0, along[-1], count)
    return np.stack([np.interp(at, along, line[:, k]) for k in (0, 1)], 1)


def spline(source: Points, target: Points) -> tuple[F32, F32]:
    """Return the thin-plate map of every pixel that takes `source` points to `target` points."""

    def kernel(squared: NDArray[np.float64]) -> NDArray[np.float64]:
        return squared * np.log(squared + 1e-9)

    count = len(source)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = kernel(((source[:, None] - source[None]) ** 2).sum(-1))
    system[:count, :count] += np.eye(count) * 50
    system[:count, count:] = np.column_stack([np.ones(count), source])
    system[count:, :count] = system[:count, count:].T
    weights = np.linalg.solve(system, np.vstack([target, np.zeros((3, 2))]))
    yy, xx = np.mgrid[0:PATCH:4, 0:PATCH:4]
    pixels = np.column_stack([xx.ravel(), yy.ravel()]).astype(np.float64)
    bent = kernel(((pixels[:, None] - source[None]) ** 2).sum(-1)) @ weights[:count]
    moved = bent + np.column_stack([np.ones(len(pixels)), pixels]) @ weights[count:]
    grid = moved.reshape(PATCH // 4, PATCH // 4, 2).astype(np.float32)
    whole = cv2.resize(grid, (PATCH, PATCH), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(whole[..., 0]), np.ascontiguousarray(whole[..., 1])


def real_cloth(donor: Surface, top: Points, low: Points) -> F32:
    """Return a real mask of another face, bent into this outline, float32 [192, 192, 3]."""
    calm = np.random.default_rng(0)
    its_top, its_low = outline(donor, "worn", calm)
    hole = np.concatenate([its_top, its_low])
    centre = hole.mean(0)
    ends = np.concatenate([its_top, spaced(its_low, 7)])
    ends = centre + (ends - centre) * 0.86  # its edge may show skin
    across, down = spline(np.concatenate([top, spaced(low, 7)]), ends)
    bent = cv2.remap(donor.patch, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return bent.astype(np.float32)


def straps(canvas: F32, face: Surface, top: Points, tint: F32, rng: Random) -> F32:
    """Draw the bands from the corners of a mask to the ears."""
    lines = np.zeros((PATCH, PATCH), np.uint8)
    thick = max(1, round(face.height * rng.uniform(0.006, 0.02)))
    for start, ear, up in ((top[0], RIGHT, 389), (top[4], LEFT, 162)):
        end = between(face.mesh[ear], face.mesh[up], rng.uniform(-0.2, 0.6))
        middle = (start + end) / 2 + rng.normal(size=2) * face.height * 0.02
        path = np.round(np.array([start, middle, end])).astype(np.int32)
        cv2.polylines(lines, [path], False, 255, thick, cv2.LINE_AA)
    share = (lines.astype(np.float32) / 255)[..., None]
    return np.asarray(canvas * (1 - share) + share * np.clip(tint, 0, 255))


def laid(canvas: F32, layer: F32, inside: F32, face: Surface, rng: Random) -> F32:
    """Lay cloth onto a face, with a soft edge and its shadow on the skin around."""
    if rng.random() < 0.6:
        shift = (face.down * face.height * rng.uniform(0, 0.025)).astype(np.float32)
        moved = cv2.warpAffine(inside, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), inside.shape)
        dark = cv2.GaussianBlur(moved, (0, 0), face.height * rng.uniform(0.01, 0.03))
        canvas = canvas * (1 - rng.uniform(0.1, 0.45) * dark[..., None])
    soft = cv2.GaussianBlur(inside, (0, 0), max(0.5, face.height * rng.uniform(0.002, 0.012)))
    return np.asarray(canvas * (1 - soft[..., None]) + layer * soft[..., None])


def mask(face: Surface, kind: str, donors: Sequence[Surface], rng: Random) -> U8:
    """Draw a mask that is worn in one of the ways of `outline`."""
    top, low = outline(face, kind, rng)
    inside = area(np.concatenate([top, low]))
    if rng.random() < 0.55 and donors:
        donor = donors[rng.integers(len(donors))]
        layer = real_cloth(donor, top, low) * rng.uniform(0.75, 1.2)
    else:
        layer = cloth(face, rng) * shading(face, inside)[..., None]
    layer = np.clip(layer, 0, 255)
    canvas = face.patch.astype(np.float32)
    if rng.random() < 0.7:
        tint = (layer * inside[..., None]).sum((0, 1)) / max(float(inside.sum()), 1)
        canvas = straps(canvas, face, top, tint * rng.uniform(0.6, 1.1), rng)
    return finished(laid(canvas, layer, inside, face, rng), rng)


def scarf(face: Surface, rng: Random) -> U8:
    """Draw cloth that comes up from the neck and is wider than the face."""
    share = rng.random()
    level = face.mesh[199] if share < 0.5 else face.mesh[17] if share < 0.8 else face.mesh[2]
    wide = face.across * face.height
    steps = np.linspace(1.1, -1.1, 7)
    top = [
        level + wide * s + face.down * face.height * (rng.normal() * 0.03 - 0.06 * abs(s))
        for s in steps
    ]
    low = [level + face.down * face.height * 1.5 + wide * s for s in (-1.3, 1.3)]
    inside = area(np.array(top + low))
    layer = np.clip(cloth(face, rng) * shading(face, inside)[..., None], 0, 255)
    return finished(laid(face.patch.astype(np.float32), layer, inside, face, rng), rng)


def skin(face: Surface) -> F32:
    """Return the colour of the cheeks."""
    spots = np.clip(face.mesh[[50, 280, 205, 425]].round().astype(int), 0, PATCH - 1)
    return np.median(face.patch[spots[:, 1], spots[:, 0]].astype(np.float32), axis=0)


def hand(face: Surface, rng: Random) -> U8:
    """Draw a hand before the mouth or the chin: a palm and fingers in the colour of the skin."""
    height = face.height
    centre = between(face.mesh[13], face.mesh[CHIN], rng.uniform(-0.6, 1.2))
    turn = rng.uniform(-1.3, 1.3)
    filled = np.zeros((PATCH, PATCH), np.uint8)
    lines = np.zeros((PATCH, PATCH), np.uint8)
    reach = np.array([np.sin(turn), -np.cos(turn)])
    side = np.array([np.cos(turn), np.sin(turn)])
    palm = centre - reach * height * rng.uniform(0.25, 0.5)
    cv2.circle(filled, _pixel(palm), int(height * 0.22), 255, -1, cv2.LINE_AA)
    for finger in range(4):
        root = palm + side * height * 0.11 * (finger - 1.5)
        tip = root + reach * height * rng.uniform(0.4, 0.6)
        cv2.line(filled, _pixel(root), _pixel(tip), 255, max(2, int(height * 0.105)), cv2.LINE_AA)
        edge = side * height * 0.055
        cv2.line(lines, _pixel(root + edge), _pixel(tip + edge), 255, 1, cv2.LINE_AA)
    inside = filled.astype(np.float32) / 255
    light = 1 - 0.35 * cv2.GaussianBlur(lines, (0, 0), 1.2).astype(np.float32) / 255
    bulge = cv2.GaussianBlur(inside, (0, 0), height * 0.05)
    tint = skin(face) * rng.uniform(0.75, 1.15) + rng.normal(size=3) * 6
    layer = np.clip(tint * (light * (0.7 + 0.35 * bulge))[..., None], 0, 255)
    return finished(laid(face.patch.astype(np.float32), layer, inside, face, rng), rng)


def beard(face: Surface, rng: Random) -> U8:
    """Draw hair along the jaw and around the mouth, which stays free."""
    low = np.array(jaw(face, 2, 19, 0.02 + 0.25 * rng.random() ** 2, 0.01))
    top = np.array([between(face.mesh[k], face.mesh[2], 0.0) for k in (361, 425, 2, 205, 132)])
    inside = area(np.concatenate([top, low]))
    mouth = area(face.mesh[[61, 39, 0, 269, 291, 405, 17, 181]])
    inside = cv2.GaussianBlur(inside * (1 - mouth), (0, 0), face.height * 0.025)
    grain = cv2.GaussianBlur(rng.normal(size=(PATCH, PATCH)).astype(np.float32), (0, 0), 1.0)
    tint = np.array([60, 45, 38]) * rng.uniform(0.3, 1.6) if rng.random() < 0.8 else 170.0
    layer = np.clip(tint + (grain * rng.uniform(15, 60))[..., None], 0, 255)
    dense = np.clip(inside * rng.uniform(0.6, 1.1) + grain * inside * 0.3, 0, 1)[..., None]
    return finished(face.patch * (1 - dense) + layer * dense, rng)


def microphone(face: Surface, rng: Random) -> U8:
    """Draw a microphone held before the mouth or the chin."""
    canvas = face.patch.copy()
    ball = between(face.mesh[13], face.mesh[CHIN], rng.uniform(-0.2, 1.3))
    ball = ball + face.across * face.height * rng.normal() * 0.1
    foot = ball + face.down * face.height + face.across * face.height * rng.normal() * 0.5
    tint = rng.uniform(5, 110) * np.ones(3) + rng.normal(size=3) * 8
    if rng.random() < 0.2:
        tint = colour(rng)
    size = face.height * rng.uniform(0.06, 0.15)
    shade = tuple(float(v) for v in np.clip(tint, 0, 255))
    cv2.line(canvas, _pixel(ball), _pixel(foot), shade, max(2, int(size * 1.2)), cv2.LINE_AA)
    cv2.circle(canvas, _pixel(ball), int(size), shade, -1, cv2.LINE_AA)
    shine = tuple(float(v) for v in np.clip(tint + 60, 0, 255))
    cv2.circle(canvas, _pixel(ball - size * 0.3), max(1, int(size * 0.25)), shine, -1, cv2.LINE_AA)
    return finished(canvas.astype(np.float32), rng)


def shade(face: Surface, rng: Random) -> U8:
    """Throw a straight shadow over the lower face, or light over it."""
    yy, xx = np.mgrid[0:PATCH, 0:PATCH].astype(np.float32)
    away = np.stack([xx - face.mesh[NOSE][0], yy - face.mesh[NOSE][1]], -1) / face.height
    edge = away @ face.down + away @ face.across * rng.normal() * 0.3 - rng.uniform(-0.2, 0.2)
    part = 1 / (1 + np.exp(-edge * rng.uniform(10, 80)))
    factor = rng.uniform(0.35, 0.8) if rng.random() < 0.8 else 1.3
    return finished(face.patch * (1 + (factor - 1) * part)[..., None], rng)


def glasses(patch: U8, mesh: Points, rng: Random) -> U8:
    """Draw glasses, dark or clear; any face may wear them."""
    canvas = patch.copy()
    tint = tuple(float(v) for v in rng.uniform(0, 90) * np.ones(3))
    dark, deep = rng.random() < 0.5, rng.uniform(0.5, 0.75)
    for inner, outer in ((133, 33), (362, 263)):
        centre, width = (mesh[inner] + mesh[outer]) / 2, np.linalg.norm(mesh[inner] - mesh[outer])
        turn = float(np.degrees(np.arctan2(*(mesh[263] - mesh[33])[::-1])))
        axes = (max(1, int(width * 0.85)), max(1, int(width * deep)))
        thick = -1 if dark else max(1, int(width * 0.1))
        cv2.ellipse(canvas, _pixel(centre), axes, turn, 0, 360, tint, thick, cv2.LINE_AA)
    cv2.line(canvas, _pixel(mesh[133]), _pixel(mesh[362]), tint, 2, cv2.LINE_AA)
    return canvas


def _pixel(point: Points) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def finished(canvas: F32, rng: Random) -> U8:
    """Return the drawing with the grain, softness and compression of a photograph."""
    noisy = canvas + rng.normal(size=(PATCH, PATCH, 1)) * rng.uniform(0, 4)
    result = np.clip(noisy, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        result = cv2.GaussianBlur(result, (0, 0), rng.uniform(0.4, 1.4))
    if rng.random() < 0.5:
        quality = int(rng.integers(30, 95))
        jpeg = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        result = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    return np.asarray(result, np.uint8)


OTHERS = {"scarf": scarf, "hand": hand, "beard": beard, "microphone": microphone, "shade": shade}


def drawn(face: Surface, donors: Sequence[Surface], rng: Random) -> list[tuple[U8, int, str]]:
    """Return what is drawn on one face: patches with their label and kind."""
    results = []
    for kind, (label, often) in KINDS.items():
        for _ in range(int(often) + (rng.random() < often % 1)):
            other = OTHERS.get(kind)
            patch = other(face, rng) if other else mask(face, kind, donors, rng)
            if rng.random() < 0.08:
                patch = glasses(patch, face.mesh, rng)
            results.append((patch, label, kind))
    return results


_state: dict[str, list[Surface]] = {}


def _work(place: int) -> list[tuple[U8, int, str]]:
    face = _state["bare"][place]
    donors = [donor for donor in _state["masked"] if donor.fold == face.fold]
    return drawn(face, donors, np.random.default_rng([7, place]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path, default=Path("knownface-data/models"))
    arguments = parser.parse_args()
    with np.load(arguments.folder / "faces.npz") as faces:
        patches, points, size = faces["judged"], faces["points"], faces["size"]
        label, fold, name = faces["taught"], faces["fold"], faces["name"]
    catalog = Catalog.load(arguments.models)
    mesh_file = catalog.path(catalog.spec("mesh"))
    if mesh_file is None:
        parser.error("the mesh is missing: run `knownface models install mesh`")
    mesher = Mesher(mesh_file)
    bare: list[int] = []
    for wanted, which, least in ((NONE, "bare", 24), (WORN, "masked", 60)):
        _state[which] = []
        for place in np.flatnonzero((fold >= 0) & (label == wanted)):
            mesh = mesher(patches[place], points[place]) if size[place] >= least else None
            if mesh is not None and np.linalg.norm(mesh[CHIN] - mesh[TOP]) > 60:
                _state[which].append(Surface(patches[place], mesh, int(fold[place])))
                bare += [int(place)] if which == "bare" else []
    with ProcessPoolExecutor(2) as pool:
        results = list(pool.map(_work, range(len(_state["bare"])), chunksize=16))
    base = [place for place, made in zip(bare, results, strict=True) for _ in made]
    flat = [item for made in results for item in made]
    np.savez(
        arguments.folder / "drawn.npz",
        patch=np.stack(
            [cv2.resize(p, (WRITTEN, WRITTEN), interpolation=cv2.INTER_AREA) for p, _, _ in flat]
        ),
        label=[label for _, label, _ in flat],
        kind=[kind for _, _, kind in flat],
        base=name[base],
        fold=fold[base],
    )


if __name__ == "__main__":
    main()
