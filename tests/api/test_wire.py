"""The wire: rounding as CompreFace rounds, and nothing that was not asked for."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownface.api import wire
from knownface.api.answers import json_answer
from knownface.api.wire import View
from knownface.recognition import rounded
from knownface.types import Box, Example, Face, Page

BOX = Box(1.9, 2.1, 30.999, 40.0, 0.123455)
ID = UUID("6b135f5b-a365-4522-b1f1-4c9ac2dd0728")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.978575, 0.97858),  # a binary float below the half, but its digits are the half
        (0.123455, 0.12346),
        (0.123445, 0.12345),  # half to even would give 0.12344
        (0.000005, 0.00001),
        (0.0000049999, 0.0),
        (0.999995, 1.0),
        (1.0, 1.0),
        (0.0, 0.0),
        (1e-9, 0.0),
    ],
)
def test_numbers_are_rounded_half_up_to_five_decimals(value: float, expected: float) -> None:
    assert rounded(value) == expected


@given(st.floats(0, 1))
def test_rounding_moves_a_number_by_half_a_step_at_most(value: float) -> None:
    assert abs(rounded(value) - value) <= 0.5e-5 + 1e-15
    assert rounded(rounded(value)) == rounded(value)


def test_a_numpy_number_is_rounded_like_any_other() -> None:
    assert rounded(float(np.float32(0.5))) == 0.5
    assert type(rounded(np.float64(0.5))) is float


def test_a_box_is_cut_to_whole_pixels_and_its_probability_is_rounded_or_not() -> None:
    assert View().face(Face(BOX)) == {
        "box": {"probability": 0.12346, "x_max": 30, "y_max": 40, "x_min": 1, "y_min": 2}
    }
    exact = View(round_probability=False).face(Face(BOX))
    assert exact["box"] == {
        "probability": 0.123455,
        "x_max": 30,
        "y_max": 40,
        "x_min": 1,
        "y_min": 2,
    }


def test_an_answer_may_hold_numpy_arrays() -> None:
    vector = np.array([0.5, -0.25], np.float32)
    answer = json_answer({"embedding": vector, "id": ID})
    assert orjson.loads(answer.body) == {"embedding": [0.5, -0.25], "id": str(ID)}


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (10, 1), (11, 2), (20, 2)])
def test_a_started_page_is_a_page(total: int, pages: int) -> None:
    shown = wire.page(Page((Example(1, ID, "Ann"),), 0, 10, total))
    assert shown["total_pages"] == pages
    assert shown["faces"] == [{"image_id": str(ID), "subject": "Ann"}]
