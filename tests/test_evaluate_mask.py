"""Masks: labels as people spell them, faces that are missed, and figures counted by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny_attributes
import tiny_models
from judges import tiny_judge, write_csv
from knownface.errors import InvalidRequest
from knownface.evaluation import mask
from knownface.evaluation.judging import Judge
from knownface.evaluation.mask import scores, value_of
from knownface.evaluation.results import Evaluation, Matrix
from knownface.vision.plugins.mask import VALUES
from tiny_models import Mark

COLUMNS = "file,label,source,x_min,y_min,x_max,y_max"
# What the small network takes a face for, by what is around it.
BACKGROUNDS = {"without_mask": 0, "with_mask": 128, "mask_weared_incorrect": 255}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    models = tmp_path_factory.mktemp("models")
    lines = ['task = "attribute"', 'family = "mask"', 'input = "rgb"', "size = [64, 64]"]
    tiny_models.write_model(models, "mask", tiny_attributes.mask(), lines)
    with tiny_judge(models) as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with a face of each value, and without.png, in which no face is found."""
    for value, background in BACKGROUNDS.items():
        seen = tiny_models.picture([Mark(1, 64, 64, 128)], 256, 256, background)
        (tmp_path / f"{value}.png").write_bytes(tiny_models.encode(seen))
    (tmp_path / "nobody.png").write_bytes(tiny_models.blank())
    return tmp_path


def figures(found: Evaluation) -> Any:
    return found.figures


def test_answers_are_compared_with_labels(judge: Judge, pictures: Path) -> None:
    labels = write_csv(
        pictures / "labels.csv",
        COLUMNS,
        [
            "without_mask.png,without_mask,hall,64,64,192,192",
            "with_mask.png,with_mask,hall,64,64,192,192",
            "with_mask.png,mask_weared_incorrect,door,64,64,192,192",
            "mask_weared_incorrect.png,mask_weared_incorrect,door,64,64,192,192",
        ],
    )

    found = mask.evaluate(labels, pictures, judge)

    told = figures(found)
    assert (told["accuracy"], told["mask_vs_none"], told["not_detected"]) == (0.75, 1, 0)
    assert told["balanced_accuracy"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert told["recall"]["mask_weared_incorrect"] == 0.5
    assert told["sources"]["door"]["accuracy"] == 0.5
    assert told["sources"]["hall"]["recall"]["mask_weared_incorrect"] is None
    assert list(told["sizes"]) == ["from 80 px"]
    assert told["data"] == {"faces": 4, "pictures": 3, "bad_rows": 0}
    assert found.charts[0] == Matrix(
        "Labels and answers", VALUES, VALUES, ((1, 0, 0), (0, 1, 0), (0, 1, 1))
    )
    (mistake,) = found.mistakes
    assert mistake.caption.startswith("with_mask.png: mask_weared_incorrect, answered with_mask (")
    assert mistake.pictures[0][:2] == b"\xff\xd8"


def test_a_face_that_is_missed_is_judged_on_its_box_and_counted_apart(
    judge: Judge, pictures: Path
) -> None:
    rows = [
        "nobody.png,with_mask,,20,20,100,100",  # grey, as the small network sees masks
        "nobody.png,without_mask,,20,20,100,100",
        "without_mask.png,without_mask,,64,64,192,192",
    ]

    told = figures(
        mask.evaluate(write_csv(pictures / "labels.csv", COLUMNS, rows), pictures, judge)
    )

    assert told["not_detected"] == 2
    assert told["accuracy"] == pytest.approx(2 / 3)
    assert told["detection"]["found"]["accuracy"] == 1
    assert told["detection"]["not_detected"]["accuracy"] == 0.5


def test_without_a_box_the_face_in_the_middle_is_meant_or_else_the_whole_picture(
    judge: Judge, pictures: Path
) -> None:
    rows = ["with_mask.png,with_mask", "nobody.png,with_mask"]

    told = figures(
        mask.evaluate(write_csv(pictures / "labels.csv", "file,label", rows), pictures, judge)
    )

    assert (told["accuracy"], told["not_detected"]) == (1, 1)
    assert told["sources"] == {}


def test_rows_that_cannot_be_used_are_told_by_their_line(judge: Judge, pictures: Path) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    rows = [
        "with_mask.png,perhaps,,,,,",
        "with_mask.png,with_mask,,1,2,3,",
        "none.png,with_mask,,,,,",
        "broken.png,with_mask,,,,,",
        "with_mask.png,with_mask,,,,,",
    ]

    found = mask.evaluate(write_csv(pictures / "labels.csv", COLUMNS, rows), pictures, judge)

    assert [problem.line for problem in found.problems] == [2, 3, 4, 5]
    assert found.problems[0].reason.startswith("label is 'perhaps', none of without_mask")
    assert figures(found)["data"] == {"faces": 1, "pictures": 1, "bad_rows": 4}


def test_labels_without_a_row_of_use_are_refused(judge: Judge, pictures: Path) -> None:
    empty = write_csv(pictures / "empty.csv", COLUMNS, [])
    labels = write_csv(pictures / "labels.csv", COLUMNS, ["none.png,with_mask,,,,,"])

    with pytest.raises(InvalidRequest, match=r"empty\.csv has no row of use\.$"):
        mask.evaluate(empty, pictures, judge)
    with pytest.raises(InvalidRequest, match=r"line 2: there is no picture 'none\.png'"):
        mask.evaluate(labels, pictures, judge)


def test_no_faces_have_no_figures() -> None:
    told = scores([], [])

    assert (told.faces, told.accuracy, told.balanced_accuracy) == (0, None, None)


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("without_mask", 0),
        ("No mask", 0),
        ("WITH-MASK", 1),
        (" masked ", 1),
        ("mask_weared_incorrect", 2),
        ("Mask worn incorrectly", 2),
        ("incorrect_mask", 2),
    ],
)
def test_labels_may_be_spelt_in_many_ways(label: str, value: int) -> None:
    assert value_of(label) == value


def test_figures_of_faces_counted_by_hand() -> None:
    told = scores([0, 0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2, 2, 0])

    assert told.accuracy == 5 / 8
    assert told.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)
    assert told.mask_vs_none == 6 / 8
    assert told.recall == {VALUES[0]: 0.75, VALUES[1]: 0.5, VALUES[2]: 0.5}


def test_a_value_that_is_not_labelled_does_not_count_among_the_balanced() -> None:
    told = scores([0, 1], [0, 0])

    assert told.balanced_accuracy == 0.5
    assert told.recall[VALUES[2]] is None
