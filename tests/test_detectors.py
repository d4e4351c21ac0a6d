"""Detectors: tensors made of pictures, faces made of tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from knownface.errors import ConfigurationError
from knownface.types import F32, Image
from knownface.vision.catalog import Catalog, ModelSpec
from knownface.vision.detectors import YuNet, create_detector, suppress_overlaps


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return Catalog.load(tmp_path).spec("yunet")


def grey(width: int, height: int) -> Image:
    return Image(np.full((height, width, 3), 128, np.uint8))


def silence(tensor: F32) -> dict[str, F32]:
    """Return YuNet's outputs for a picture in which it sees nothing."""
    columns = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    _, height, width = tensor.shape
    return {
        f"{head}_{stride}": np.zeros((height // stride * (width // stride), count), np.float32)
        for head, count in columns.items()
        for stride in YuNet.STRIDES
    }


def test_a_large_picture_is_shrunk_to_the_longest_side_allowed(spec: ModelSpec) -> None:
    tensor, scale = YuNet(spec).prepare(grey(1280, 960), 640)

    assert scale == 0.5
    assert tensor.shape == (3, 480, 640)


def test_a_size_limit_of_zero_means_none(spec: ModelSpec) -> None:
    tensor, scale = YuNet(spec).prepare(grey(1280, 960), 0)

    assert scale == 1.0
    assert tensor.shape == (3, 960, 1280)


def test_a_thumbnail_is_doubled(spec: ModelSpec) -> None:
    tensor, scale = YuNet(spec).prepare(grey(100, 80), 640)

    assert scale == 2.0
    assert tensor.shape == (3, 160, 224)


def test_padding_is_black_and_lies_at_the_right_and_the_bottom(spec: ModelSpec) -> None:
    tensor, _ = YuNet(spec).prepare(grey(500, 410), 640)

    assert tensor.shape == (3, 416, 512)
    assert np.all(tensor[:, :410, :500] == 128)
    assert not tensor[:, 410:].any()
    assert not tensor[:, :, 500:].any()


def test_the_network_gets_blue_first(spec: ModelSpec) -> None:
    pixels = np.zeros((416, 416, 3), np.uint8)
    pixels[:, :, 0] = 255

    tensor, _ = YuNet(spec).prepare(Image(pixels), 640)

    assert tensor[:, 0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (33, 7)])
def test_a_picture_of_any_shape_becomes_a_tensor(spec: ModelSpec, width: int, height: int) -> None:
    tensor, _ = YuNet(spec).prepare(grey(width, height), 640)

    assert tensor.shape[1] % 32 == 0
    assert tensor.shape[2] % 32 == 0
    assert tensor.size


@pytest.mark.parametrize("stride", YuNet.STRIDES)
def test_a_cell_that_fires_becomes_a_face_in_picture_pixels(spec: ModelSpec, stride: int) -> None:
    yunet = YuNet(spec)
    tensor, scale = yunet.prepare(grey(1280, 960), 640)
    outputs = silence(tensor)
    row, column = 3, 5
    cell = row * (tensor.shape[2] // stride) + column
    outputs[f"cls_{stride}"][cell] = 0.81
    outputs[f"obj_{stride}"][cell] = 1.0
    outputs[f"bbox_{stride}"][cell] = (0.5, 0.25, np.log(4), np.log(6))
    outputs[f"kps_{stride}"][cell] = np.arange(10) / 10

    found = yunet.decode(list(outputs.values()), tensor, scale)

    centre = np.array([column + 0.5, row + 0.25]) * stride / scale
    half = np.array([4, 6]) * stride / 2 / scale
    points = (np.arange(10).reshape(5, 2) / 10 + (column, row)) * stride / scale
    assert found.scores == pytest.approx([0.9])
    np.testing.assert_allclose(found.boxes[0], [*(centre - half), *(centre + half)], rtol=1e-5)
    np.testing.assert_allclose(found.landmarks[0], points, rtol=1e-5)


def test_outputs_out_of_range_give_finite_faces(spec: ModelSpec) -> None:
    yunet = YuNet(spec)
    tensor, scale = yunet.prepare(grey(640, 480), 640)
    outputs = {name: np.full_like(value, 1e4) for name, value in silence(tensor).items()}

    found = yunet.decode(list(outputs.values()), tensor, scale)

    assert len(found)
    assert np.isfinite(found.boxes).all()
    assert found.scores.max() == 1.0


def test_nothing_found_is_no_failure(spec: ModelSpec) -> None:
    yunet = YuNet(spec)
    tensor, scale = yunet.prepare(grey(640, 480), 640)

    assert len(yunet.decode(list(silence(tensor).values()), tensor, scale)) == 0


def test_raw_scores_are_calibrated_along_the_knots(spec: ModelSpec) -> None:
    raw = np.array([0.0, 0.35, 0.7, 0.75, 0.8, 0.95, 1.0], np.float32)

    probabilities = YuNet(spec).probability(raw)

    np.testing.assert_allclose(probabilities, [0, 0.4, 0.8, 0.85, 0.9, 1, 1], atol=1e-6)


def test_a_model_without_knots_is_taken_at_its_word(spec: ModelSpec) -> None:
    yunet = YuNet(replace(spec, probability=()))

    assert yunet.probability(np.array([0.25], np.float32)) == pytest.approx([0.25])


def test_of_two_boxes_over_each_other_the_better_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], np.float32)

    assert suppress_overlaps(boxes, np.array([0.8, 0.9, 0.7], np.float32), 0.3) == [1, 2]


def test_boxes_that_only_touch_both_stay() -> None:
    boxes = np.array([[0, 0, 10, 10], [10, 0, 20, 10]], np.float32)

    assert suppress_overlaps(boxes, np.array([0.8, 0.9], np.float32), 0.3) == [1, 0]


def test_an_unknown_family_names_the_known_ones(spec: ModelSpec) -> None:
    with pytest.raises(ConfigurationError, match="yunet"):
        create_detector(replace(spec, family="nosuch"))
