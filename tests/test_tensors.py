"""What a network is fed: the same crop in each model's own colours, range and layout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from knownface.types import U8
from knownface.vision.catalog import ModelSpec
from knownface.vision.tensors import to_tensor

SPEC = ModelSpec(name="some", task="attribute", family="some", file="some.onnx", input="x")


@pytest.fixture
def crop() -> U8:
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[0, 3] = (10, 20, 30)
    return pixels


def test_channels_come_first_unless_the_model_wants_them_last(crop: U8) -> None:
    first = to_tensor(crop, SPEC)
    last = to_tensor(crop, replace(SPEC, layout="NHWC"))
    assert (first.shape, last.shape) == ((3, 2, 4), (2, 4, 3))
    assert first[:, 0, 3].tolist() == last[0, 3].tolist() == [10, 20, 30]
    assert first.dtype == last.dtype == np.float32
    assert first.flags.c_contiguous
    assert last.flags.c_contiguous


def test_one_mean_holds_for_all_channels_and_three_for_one_each(crop: U8) -> None:
    one = to_tensor(crop, replace(SPEC, mean=10.0, scale=0.5))
    three = to_tensor(crop, replace(SPEC, mean=(10.0, 0.0, 20.0), scale=0.5))
    assert one[:, 0, 3].tolist() == [0, 5, 10]
    assert three[:, 0, 3].tolist() == [0, 10, 5]


def test_means_follow_the_order_of_the_colours(crop: U8) -> None:
    tensor = to_tensor(crop, replace(SPEC, colour="BGR", mean=(1.0, 2.0, 3.0)))
    assert tensor[:, 0, 3].tolist() == [29, 18, 7]
