"""Pose: angles that a small network measures, beside labels that are off by known amounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from judges import put, tiny_judge, write_csv
from knownface.errors import InvalidRequest
from knownface.evaluation import pose
from knownface.evaluation.judging import Judge
from knownface.evaluation.pose import errors, mirror_errors
from knownface.evaluation.results import Evaluation
from tiny_models import Mark

OWN = "file,pitch,yaw,roll"
AFLW = "file,pitch_deg,yaw_deg,roll_deg,face_w_px"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with tiny_judge(tmp_path_factory.mktemp("models")) as opened:
        yield opened


def figures(found: Evaluation) -> Any:
    return found.figures


def measured(judge: Judge, path: Path) -> tuple[float, float, float]:
    (face,) = judge.pipeline.analyze(judge.image(path), plugins=("pose",))
    angles: Any = face.attributes["pose"]
    return angles["pitch"], angles["yaw"], angles["roll"]


def test_angles_are_compared_with_labels(judge: Judge, tmp_path: Path) -> None:
    pitch, yaw, roll = measured(judge, tmp_path / put(tmp_path, "1.png", 1))
    rows = [f"1.png,{pitch - 3},{yaw + 6},{roll - 9}", f"1.png,{pitch},{yaw + 60},{roll}"]

    found = pose.evaluate(write_csv(tmp_path / "l.csv", OWN, rows), tmp_path, judge)

    told = figures(found)
    assert told["pitch_mae"] == pytest.approx(1.5)
    assert told["yaw_mae"] == pytest.approx(33)
    assert told["roll_mae"] == pytest.approx(4.5)
    assert told["pose_mae"] == pytest.approx(13)
    assert (told["faces_50"], told["pose_mae_50"]) == (1, pytest.approx(6))
    assert (told["faces"], told["not_detected"], told["roll_sign"]) == (2, 0, 1)
    assert [chart.title for chart in found.charts] == ["Pitch", "Yaw", "Roll"]
    assert found.mistakes[0].caption.startswith("1.png: off by 20.0°; pitch, yaw, roll ")


@pytest.mark.parametrize(
    ("columns", "sign", "read_as"),
    [(OWN, None, 1), (AFLW, None, -1), (OWN, -1, -1), (AFLW, 1, 1)],
)
def test_roll_is_read_the_way_the_labels_count_it(
    judge: Judge, tmp_path: Path, columns: str, sign: int | None, read_as: int
) -> None:
    pitch, yaw, roll = measured(judge, tmp_path / put(tmp_path, "1.png", 1))
    labels = write_csv(tmp_path / "l.csv", columns, [f"1.png,{pitch},{yaw},{read_as * roll + 8}"])

    told = figures(pose.evaluate(labels, tmp_path, judge, roll_sign=sign))

    assert told["roll_mae"] == pytest.approx(8)
    assert told["roll_sign"] == read_as


def test_the_shorter_way_round_counts() -> None:
    labelled, found = np.array([[170.0, -5, 0]]), np.array([[-175.0, 10, 180]])

    assert errors(labelled, found).tolist() == [[15, 15, 180]]


def test_a_face_that_the_server_would_not_find_is_judged_and_counted_apart(
    judge: Judge, tmp_path: Path
) -> None:
    faint = tiny_models.picture([Mark(1, 64, 64, 128, confidence=0.7)], 256, 256)
    (tmp_path / "faint.png").write_bytes(tiny_models.encode(faint))
    put(tmp_path, "nobody.png", None)
    columns = f"{OWN},x_min,y_min,x_max,y_max"
    rows = [
        "faint.png,0,0,0,,,,",
        "nobody.png,0,0,0,10,10,90,90",
        "nobody.png,0,0,0,,,,",
    ]

    found = pose.evaluate(write_csv(tmp_path / "l.csv", columns, rows), tmp_path, judge)

    assert (figures(found)["faces"], figures(found)["not_detected"]) == (2, 2)
    assert [(p.line, p.reason) for p in found.problems] == [
        (4, "nobody.png: no face is found in it, and no box is labelled")
    ]


def test_rows_that_cannot_be_used_are_told_by_their_line(judge: Judge, tmp_path: Path) -> None:
    put(tmp_path, "1.png", 1)
    rows = ["1.png,1,2,x", "1.png,1,200,3", "2.png,1,2,3", "1.png,1,2,", "1.png,0,0,0"]

    found = pose.evaluate(write_csv(tmp_path / "l.csv", OWN, rows), tmp_path, judge)

    assert [problem.line for problem in found.problems] == [2, 3, 4, 5]
    assert figures(found)["data"] == {"faces": 1, "pictures": 1, "bad_rows": 4}


def test_labels_without_angles_are_refused(judge: Judge, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no column pitch, yaw, roll"):
        pose.evaluate(write_csv(tmp_path / "l.csv", "file,age", ["1.png,3"]), tmp_path, judge)


@pytest.mark.parametrize(
    ("label", "found", "mirrored", "wrong"),
    [
        ((0, 30, 0), (0, 25, 0), (0, -20, 0), []),
        ((0, 30, 0), (0, -1, 0), (0, -20, 0), ["yaw"]),
        ((0, 30, 0), (0, 25, 0), (0, 20, 0), ["yaw"]),
        ((0, 5, 0), (0, -5, 0), (0, -5, 0), []),
        ((0, -30, 12), (0, -25, 5), (0, 25, 5), ["roll"]),
        ((0, 60, 12), (0, 55, -5), (0, -55, -5), []),
        ((0, 30, 0), (0, 25, 0), None, []),
    ],
    ids=["right", "wrong", "not mirrored", "small", "roll", "profile", "no face in the mirror"],
)
def test_a_head_and_its_mirror_image_are_turned_to_opposite_sides(
    label: tuple[float, ...],
    found: tuple[float, ...],
    mirrored: tuple[float, ...] | None,
    wrong: list[str],
) -> None:
    other = None if mirrored is None else np.array(mirrored, float)

    assert mirror_errors(np.array(label, float), np.array(found, float), other) == wrong
