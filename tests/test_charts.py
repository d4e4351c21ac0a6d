"""Charts: ticks that people can read, lines that keep their shape, and words for all of it."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

import numpy as np
import pytest

from knownface.evaluation.axes import axis, number
from knownface.evaluation.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_DOTS,
    RIGHT,
    TOP,
    WIDTH,
    draw,
    simplified,
)
from knownface.evaluation.results import Curve, Histogram, Matrix, Scatter

RIGHTMOST: Final = WIDTH - RIGHT
LOWEST: Final = HEIGHT - BOTTOM


def points(drawing: str, kind: str) -> list[list[tuple[float, float]]]:
    """Return the corners of each line or area of a kind."""
    found = re.findall(rf'class="{kind}[^"]*" points="([^"]*)"', drawing)
    return [[(float(x), float(y)) for x, y in re.findall(r"(\S+),(\S+)", one)] for one in found]


def labels(values: list[float], *, log: bool = False) -> list[str]:
    return [label for _, label in axis([np.array(values)], log=log).ticks]


def test_ticks_are_round_numbers_around_the_values() -> None:
    assert labels([0.0, 1.0]) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert labels([-54.7, 70.9]) == ["−60", "−40", "−20", "0", "20", "40", "60", "80"]
    assert labels([0.9851, 0.9991]) == [
        "0.984", "0.986", "0.988", "0.99", "0.992", "0.994", "0.996", "0.998", "1",
    ]  # fmt: skip


def test_a_logarithmic_axis_has_its_ticks_at_powers_of_ten() -> None:
    shown = axis([np.array([0.0, 2e-6, 1.0])], log=True)

    assert [label for _, label in shown.ticks] == ["10⁻⁵", "10⁻⁴", "0.001", "0.01", "0.1", "1"]
    assert shown.low == pytest.approx(2e-6)
    assert 3e-4 in [pytest.approx(line) for line in shown.lines]


def test_a_short_logarithmic_axis_has_ticks_between_them() -> None:
    assert labels([0.02, 0.3], log=True) == ["0.02", "0.05", "0.1", "0.2", "0.5"]
    assert labels([3e-6, 4e-5], log=True) == ["2·10⁻⁶", "5·10⁻⁶", "10⁻⁵", "2·10⁻⁵", "5·10⁻⁵"]


def test_zero_lies_where_a_logarithmic_axis_begins_to_measure() -> None:
    shown = axis([np.array([0.0, 0.01, 1.0])], log=True)

    assert shown.shares(np.array([0.0, 0.01, 0.1, 1.0])) == pytest.approx([0, 0, 0.5, 1])


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[], [np.nan], [0.5], [0.0, 0.0], [0.001, 0.001]])
def test_hardly_any_values_have_an_axis_too(values: list[float], log: bool) -> None:
    shown = axis([np.array(values)], log=log)

    assert shown.low < shown.high
    assert len(shown.ticks) >= 2


def test_numbers_are_short_and_have_a_real_minus_sign() -> None:
    assert [number(v) for v in (0.123456, -2.5, 1234567.0, 40.0)] == [
        "0.1235", "−2.5", "1,234,567", "40",
    ]  # fmt: skip


def test_a_straight_line_of_many_points_is_drawn_with_two() -> None:
    x = np.linspace(0, 400, 1_000_000)

    assert len(simplified(np.column_stack([x, 0.5 * x]))) == 2


def test_steps_keep_their_corners() -> None:
    steps = np.array([(0, 0), (0, 5), (10, 5), (10, 20), (30, 20), (30, 21)], float)
    fine = np.concatenate([np.linspace(a, b, 1000) for a, b in pairwise(steps)])

    assert simplified(fine) == pytest.approx(steps, abs=0.2)


def test_a_simplified_curve_lies_where_the_whole_one_does() -> None:
    x = np.linspace(0, 400, 50_000)
    curve = np.column_stack([x, 100 * np.sin(x / 40) + 3 * np.sin(x)])

    corners = simplified(curve)

    assert len(corners) < 1500
    assert np.interp(x, corners[:, 0], corners[:, 1]) == pytest.approx(curve[:, 1], abs=0.8)


def test_a_curve_runs_from_corner_to_corner() -> None:
    straight = Curve("A", "x", "y", (("", np.array([0.0, 1.0]), np.array([0.0, 1.0])),))

    (line,) = points(draw(straight, 1), "line")

    assert line == [(LEFT, LOWEST), (RIGHTMOST, TOP)]


def test_a_logarithmic_curve_does_not_show_what_lies_left_of_its_axis() -> None:
    x = np.array([0.0, 0.0, 0.0, 0.01, 0.1, 1.0])
    y = np.array([0.0, 0.3, 0.8, 0.9, 0.98, 1.0])

    drawing = draw(Curve("ROC", "x", "y", (("", x, y),), log_x=True), 1)

    (line,) = points(drawing, "line")
    assert [place[0] for place in line] == pytest.approx(
        [LEFT, LEFT, (LEFT + RIGHTMOST) / 2, RIGHTMOST]
    )
    assert line[0][1] == LOWEST  # the last point at 0, on an axis that begins at 0.8
    assert ">0.8</text>" in drawing


def test_a_curve_that_never_leaves_zero_is_still_drawn() -> None:
    perfect = Curve(
        "DET", "x", "y", (("", np.array([0.0, 1.0]), np.array([0.0, 0.0])),), log_x=True, log_y=True
    )

    assert len(points(draw(perfect, 1), "line")) == 1


def test_the_diagonal_is_where_both_are_equal() -> None:
    x, y = np.array([0.001, 1.0]), np.array([1.0, 0.001])
    both = draw(Curve("DET", "x", "y", (("", x, y),), log_x=True, log_y=True, diagonal=True), 1)
    apart = draw(Curve("A", "x", "y", (("", x, y + 5),), diagonal=True), 1)

    assert points(both, "diagonal") == [[(LEFT, LOWEST), (RIGHTMOST, TOP)]]
    assert points(apart, "diagonal") == []


def test_lines_are_named_below_the_chart_when_there_are_several() -> None:
    x = np.array([0.0, 1.0])
    one = Curve("A", "x", "y", (("sface", x, x),))
    two = Curve("A", "x", "y", (("sface", x, x), ("<other>", x, 1 - x)))

    assert 'class="legend"' not in draw(one, 1)
    assert re.findall(r"</svg>([^<]*)</li>", draw(two, 1)) == ["sface", "&lt;other&gt;"]
    assert 'class="line s1"' in draw(two, 1)


def test_a_histogram_shows_the_share_of_each_and_the_threshold() -> None:
    same, other = np.array([1.0] * 3 + [0.0]), np.zeros(7)
    chart = Histogram("H", "similarity", (("same", same), ("other", other)), 0.5)

    drawing = draw(chart, 1)

    first, second = points(drawing, "area")
    # 75 % of the first are in the last bin; all of the second in the first, which is as high as
    # the axis.
    assert min(y for x, y in first if x > 400) == pytest.approx(
        LOWEST - 0.75 * (LOWEST - TOP), abs=0.1
    )
    assert min(y for x, y in second if x < 100) == TOP
    assert f'class="marker" d="M{(LEFT + RIGHTMOST) / 2:.1f}' in drawing
    assert "The threshold is 0.5." in drawing
    assert "other (7)" in drawing


def test_a_histogram_of_nothing_says_so() -> None:
    drawing = draw(Histogram("H", "x", (("same", np.array([])), ("other", np.array([0.5])))), 1)

    assert "same: none." in drawing


def test_dots_lie_in_the_square_of_label_and_answer() -> None:
    x, y = np.array([0.0, 100.0, np.nan]), np.array([0.0, 50.0, 1.0])

    drawing = draw(Scatter("S", "labelled", "measured", x, y), 1)

    dots = re.findall(r'<circle cx="(\S+)" cy="(\S+)"', drawing)
    assert [(float(a), float(b)) for a, b in dots] == [
        (LEFT, LOWEST),
        (RIGHTMOST, (LOWEST + TOP) / 2),
    ]
    assert "On average they lie 25 off the diagonal." in drawing


def test_of_too_many_dots_some_are_drawn_and_it_says_so() -> None:
    x = np.arange(MOST_DOTS + 10, dtype=np.float64)

    drawing = draw(Scatter("S", "a", "b", x, x, diagonal=False), 1)

    assert drawing.count("<circle") == MOST_DOTS
    assert "3,000 of 3,010 dots are drawn" in drawing


def test_a_confusion_matrix_is_a_table_of_counts_and_shares_of_rows() -> None:
    chart = Matrix("M", ("cat", "<dog>"), ("cat", "<dog>", "none"), ((3, 1, 0), (0, 0, 0)))

    table = draw(chart, 1)

    cells = re.findall(
        r'<td class="(\w+)" style="--share:(\S+)"><b>(\d+)</b> <small>([^<]+)<', table
    )
    assert cells[:3] == [
        ("right", "0.750", "3", "75.0 %"),
        ("wrong", "0.250", "1", "25.0 %"),
        ("wrong", "0.000", "0", "0 %"),
    ]
    assert [cell[3] for cell in cells[3:]] == ["–", "–", "–"]
    assert '<th scope="row">&lt;dog&gt;</th>' in table
    assert "<dog>" not in table
