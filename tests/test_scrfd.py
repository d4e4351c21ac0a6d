"""SCRFD: how InsightFace's detectors are fed, and how their nine outputs become faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tiny_insightface
import tiny_models
from knownface.errors import ModelUnavailable
from knownface.types import F32, Image
from knownface.vision.catalog import Catalog, ModelSpec, read_description
from knownface.vision.detectors import SCRFD, YuNet, create_detector, suppress_overlaps
from knownface.vision.session import Network
from tiny_models import Mark, picture

DESCRIPTION = """
name = "det"
task = "detector"
family = "scrfd"
file = "det.onnx"
"""
MARKS = (
    Mark(1, 96, 56, 128),
    Mark(2, 300, 200, 160),
    Mark(3, 500, 300, 64),
    Mark(4, 40, 400, 24),
    Mark(5, 560, 8, 16),
)


def described(folder: Path, more: str = "") -> ModelSpec:
    (folder / "det").mkdir(exist_ok=True)
    path = folder / "det" / "model.toml"
    path.write_text(DESCRIPTION + more, "utf-8")
    return read_description(path)[0]


@pytest.fixture
def scrfd(tmp_path: Path) -> SCRFD:
    detector = create_detector(described(tmp_path))
    assert isinstance(detector, SCRFD)
    return detector


def grey(width: int, height: int, value: int = 128) -> Image:
    return Image(np.full((height, width, 3), value, np.uint8))


def silence(tensor: F32) -> list[F32]:
    """Return the outputs for a picture in which nothing is seen: kind by kind, stride by stride."""
    _, height, width = tensor.shape
    return [
        np.zeros((2 * (height // s) * (width // s), columns), np.float32)
        for columns in (1, 4, 10)
        for s in (8, 16, 32)
    ]


# What the network is fed


def test_it_is_fed_red_first_around_zero(scrfd: SCRFD) -> None:
    pixels = np.zeros((640, 640, 3), np.uint8)
    pixels[:, :, 0] = 255
    tensor, _ = scrfd.prepare(Image(pixels), 640)
    np.testing.assert_allclose(tensor[:, 5, 5], [127.5 / 128, -127.5 / 128, -127.5 / 128])


def test_what_lies_beyond_the_picture_is_black_as_in_the_library(scrfd: SCRFD) -> None:
    tensor, scale = scrfd.prepare(grey(640, 410), 640)
    assert (scale, tensor.shape) == (1.0, (3, 416, 640))
    assert np.all(tensor[:, 410:] == np.float32(-127.5 / 128))
    assert np.all(tensor[:, :410] == np.float32(0.5 / 128))


@pytest.mark.parametrize(
    ("size", "most", "scale"),
    [
        ((1280, 960), 640, 0.5),
        ((320, 240), 640, 2.0),  # enlarged to the canvas these networks were made for
        ((320, 240), 0, 2.0),
        ((1280, 960), 0, 1.0),
        ((1000, 500), 4000, 1.0),
        ((200, 100), 320, 1.6),
    ],
)
def test_pictures_fill_the_canvas_and_no_more_than_allowed(
    scrfd: SCRFD, size: tuple[int, int], most: int, scale: float
) -> None:
    tensor, found = scrfd.prepare(grey(*size), most)
    assert found == scale
    assert all(side % 32 == 0 for side in tensor.shape[1:])


@pytest.mark.parametrize("kind", ["scrfd", "yunet"])
def test_a_file_of_one_size_gets_pictures_of_that_size(tmp_path: Path, kind: str) -> None:
    spec = described(tmp_path, "size = [640, 480]\n")
    detector = (SCRFD if kind == "scrfd" else YuNet)(spec)
    tensor, scale = detector.prepare(grey(400, 600), 320)
    assert tensor.shape == (3, 480, 640)
    assert scale == 0.8


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (33, 7)])
def test_a_picture_of_any_shape_becomes_a_tensor(scrfd: SCRFD, width: int, height: int) -> None:
    assert scrfd.prepare(grey(width, height), 640)[0].size


# What its outputs mean


@pytest.mark.parametrize("anchor", [0, 1])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["stride 8", "stride 16", "stride 32"])
def test_an_anchor_that_fires_becomes_a_face_in_picture_pixels(
    scrfd: SCRFD, place: int, anchor: int
) -> None:
    tensor, scale = scrfd.prepare(grey(1280, 960), 640)
    outputs, stride = silence(tensor), (8, 16, 32)[place]
    row, column = 3, 5
    at = 2 * (row * (640 // stride) + column) + anchor
    outputs[place][at] = 0.75
    outputs[3 + place][at] = (1, 2, 3, 4.5)
    outputs[6 + place][at] = np.arange(10) / 10 - 0.3

    found = scrfd.decode(outputs, tensor, scale)

    x, y = column * stride, row * stride  # the corner of the cell, not its middle
    box = np.array([x - stride, y - 2 * stride, x + 3 * stride, y + 4.5 * stride]) / scale
    points = ((np.arange(10) / 10 - 0.3).reshape(5, 2) * stride + (x, y)) / scale
    assert found.scores == pytest.approx([0.75])
    np.testing.assert_allclose(found.boxes, [box], rtol=1e-5)
    np.testing.assert_allclose(found.landmarks, [points], rtol=1e-5)


def test_neither_the_order_of_the_outputs_nor_a_batch_axis_matters(scrfd: SCRFD) -> None:
    tensor, scale = scrfd.prepare(grey(640, 480), 640)
    outputs = silence(tensor)
    outputs[1][7], outputs[4][7], outputs[7][7] = 0.9, 2.0, 1.0
    expected = scrfd.decode(outputs, tensor, scale)
    assert len(expected) == 1
    shuffled = [outputs[i][None] for i in (8, 0, 4, 6, 2, 1, 3, 5, 7)]
    found = scrfd.decode(shuffled, tensor, scale)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.landmarks, expected.landmarks)


def test_outputs_out_of_range_give_finite_faces(scrfd: SCRFD) -> None:
    tensor, scale = scrfd.prepare(grey(640, 480), 640)
    found = scrfd.decode([np.full_like(o, 1e30) for o in silence(tensor)], tensor, scale)
    assert len(found)
    assert np.isfinite(found.boxes).all()
    assert found.scores.max() == 1.0


def test_outputs_of_another_network_are_told(scrfd: SCRFD) -> None:
    tensor, scale = scrfd.prepare(grey(640, 480), 640)
    outputs = silence(tensor)
    with pytest.raises(ModelUnavailable, match="other outputs than an SCRFD"):
        scrfd.decode(outputs[:6], tensor, scale)
    short = [output[:-1] for output in outputs]
    with pytest.raises(ModelUnavailable, match="9599 scores for 4800 cells"):
        scrfd.decode(short, tensor, scale)


def test_the_threshold_of_insightface_is_what_a_request_without_one_means(scrfd: SCRFD) -> None:
    raw = np.array([0, 0.4, 0.5, 0.7, 0.9, 1], np.float32)
    np.testing.assert_allclose(scrfd.probability(raw), [0, 0.64, 0.8, 0.9, 1, 1], atol=1e-6)


def test_a_models_own_knots_go_first(tmp_path: Path) -> None:
    own = SCRFD(described(tmp_path, "probability = [[0.0, 0.0], [1.0, 1.0]]\n"))
    assert own.probability(np.array([0.6], np.float32)) == pytest.approx([0.6])


def test_boxes_that_include_their_last_pixel_overlap_a_little_more() -> None:
    boxes = np.array([[0, 0, 9, 9], [0, 5, 9, 14]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    assert suppress_overlaps(boxes, scores, 0.3) == [0, 1]  # 36 of 126
    assert suppress_overlaps(boxes, scores, 0.3, pixel=1.0) == [0]  # 50 of 150


# Real files


def found_by(folder: Path, content: bytes, more: str = "", *, most: int = 640) -> list[np.ndarray]:
    """Return boxes, landmarks and scores of the painted faces, by a network in that file."""
    spec = described(folder, more)
    (folder / "det" / "det.onnx").write_bytes(content)
    detector = create_detector(Catalog.load(folder).spec("det"))
    network = Network(spec, folder / "det" / "det.onnx")
    tensor, scale = detector.prepare(Image(picture(MARKS, 640, 480)), most)
    outputs = [output[0] for output in network.run(tensor[None])]
    found = detector.decode(outputs, tensor, scale)
    order = np.argsort(found.boxes[:, 0])
    return [found.boxes[order], found.landmarks[order], found.scores[order]]


@pytest.mark.parametrize("batch_axis", [False, True], ids=["no batch axis", "batch axis"])
def test_painted_faces_are_found_to_the_pixel(tmp_path: Path, batch_axis: bool) -> None:
    boxes, landmarks, scores = found_by(tmp_path, tiny_insightface.detector(batch_axis=batch_axis))
    expected = sorted(MARKS, key=lambda mark: mark.x)
    np.testing.assert_allclose(boxes, [mark.box for mark in expected], atol=0.01)
    np.testing.assert_allclose(landmarks, [mark.landmarks for mark in expected], atol=0.01)
    np.testing.assert_allclose(scores, 1, atol=0.04)


def test_a_file_that_fixes_its_size_finds_them_too(tmp_path: Path) -> None:
    content = tiny_insightface.detector(size=(640, 640))
    boxes, *_ = found_by(tmp_path, content, "size = [640, 640]\n", most=320)
    expected = sorted(MARKS, key=lambda mark: mark.x)
    np.testing.assert_allclose(boxes, [mark.box for mark in expected], atol=0.01)


def test_a_yunet_that_fixes_its_size_finds_them_too(tmp_path: Path) -> None:
    (tmp_path / "y").mkdir()
    text = DESCRIPTION.replace('"scrfd"', '"yunet"') + "size = [640, 640]\n"
    (tmp_path / "y" / "model.toml").write_text(text)
    (tmp_path / "y" / "det.onnx").write_bytes(tiny_models.detector((640, 640)))
    catalog = Catalog.load(tmp_path)
    detector = create_detector(catalog.spec("det"))
    tensor, scale = detector.prepare(Image(picture(MARKS[:3], 640, 480)), 640)
    network = Network(catalog.spec("det"), catalog.path(catalog.spec("det")))
    found = detector.decode([o[0] for o in network.run(tensor[None])], tensor, scale)
    boxes = sorted(found.boxes.tolist())
    np.testing.assert_allclose(boxes, [mark.box for mark in MARKS[:3]], atol=0.01)


@pytest.mark.parametrize(
    ("make", "more", "complaint"),
    [
        (lambda: tiny_insightface.detector(size=(640, 640)), "", r"set its size to \[640, 640\]"),
        (lambda: tiny_insightface.detector(landmarks=False), "", "no landmarks"),
        (tiny_insightface.embedder, "size = [112, 112]\n", "has 9 outputs"),
        (tiny_models.detector, "", "has 9 outputs"),
    ],
    ids=["one size alone", "six outputs", "an embedder", "a YuNet"],
)
def test_a_file_that_cannot_be_used_is_told_when_it_is_loaded(
    tmp_path: Path, make: Callable[[], bytes], more: str, complaint: str
) -> None:
    spec = described(tmp_path, more)
    (tmp_path / "det" / "det.onnx").write_bytes(make())
    with pytest.raises(ModelUnavailable, match=complaint):
        Network(spec, tmp_path / "det" / "det.onnx").load()
