"""Age and gender: what small networks say of painted faces, beside labels that we choose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from judges import put, tiny_judge, write_csv
from knownface.errors import InvalidRequest
from knownface.evaluation import age_gender
from knownface.evaluation.age_gender import Answer, Person, gender_of, scores
from knownface.evaluation.judging import Judge, padded
from knownface.evaluation.results import Evaluation, Matrix
from knownface.types import Image
from tiny_models import Mark


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with tiny_judge(tmp_path_factory.mktemp("models")) as opened:
        yield opened


def figures(found: Evaluation) -> Any:
    return found.figures


def said(judge: Judge, path: Path) -> tuple[float, str]:
    """Return the middle of the age range and the gender that the server would answer."""
    image = judge.image(path)
    (face,) = judge.pipeline.analyze(image, plugins=("age", "gender"))
    age: Any = face.attributes["age"]
    gender: Any = face.attributes["gender"]
    return (age["low"] + age["high"]) / 2, gender["value"]


def other(gender: str) -> str:
    return "male" if gender == "female" else "female"


def test_answers_are_compared_with_labels(judge: Judge, tmp_path: Path) -> None:
    first, second = (tmp_path / put(tmp_path, f"{n}.png", n) for n in (1, 2))
    (age1, gender1), (age2, gender2) = said(judge, first), said(judge, second)
    assert min(age1, age2) > 20  # so that both labels are of adults
    rows = [
        f"1.png,{age1 - 4},{gender1},white",
        f"2.png,{age2 + 10},{other(gender2)},other",
        f"1.png,{7},{gender1},white",
    ]

    found = age_gender.evaluate(
        write_csv(tmp_path / "labels.csv", "file,age,gender,race", rows), tmp_path, judge
    )

    told = figures(found)
    assert told["age_mae_15"] == pytest.approx(7)
    assert told["age_bias_15"] == pytest.approx((4 - 10) / 2)
    assert told["gender_accuracy_15"] == 0.5
    assert told["age_mae"] == pytest.approx((4 + 10 + age1 - 7) / 3)
    assert told["gender_accuracy"] == pytest.approx(2 / 3)
    assert told["ages"]["3-9"]["faces"] == 1
    assert told["races"]["white"]["faces"] == 1  # of 15 or more
    assert set(told["genders"]) == {gender1, other(gender2)}
    assert told["data"] == {"faces": 3, "pictures": 2, "bad_rows": 0}
    captions = [mistake.caption for mistake in found.mistakes]
    assert captions[0].startswith("1.png: 7 years, answered ")
    assert captions[-1].startswith(f"2.png: {other(gender2)}, answered {gender2}")


def test_age_or_gender_may_be_missing(judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / put(tmp_path, "1.png", 1)
    _, gender = said(judge, path)

    told = figures(
        age_gender.evaluate(
            write_csv(tmp_path / "l.csv", "file,gender", [f"1.png,{gender}"]), tmp_path, judge
        )
    )

    assert (told["gender_accuracy"], told["age_mae"], told["gender_accuracy_15"]) == (1, None, None)
    assert told["genders"][gender]["faces"] == 1


def test_rows_that_cannot_be_used_are_told_by_their_line(judge: Judge, tmp_path: Path) -> None:
    put(tmp_path, "1.png", 1)
    rows = [
        "1.png,30,0",
        "1.png,200,male",
        "1.png,thirty,male",
        "1.png,,",
        "1.png,30,unknown",
        "2.png,30,male",
        "1.png,30,male",
    ]

    found = age_gender.evaluate(
        write_csv(tmp_path / "l.csv", "file,age,gender", rows), tmp_path, judge
    )

    assert [problem.line for problem in found.problems] == [2, 3, 4, 5, 6, 7]
    assert "male in some data and female in other" in found.problems[0].reason
    assert figures(found)["faces"] == 1


def test_labels_without_age_and_gender_are_refused(judge: Judge, tmp_path: Path) -> None:
    put(tmp_path, "1.png", 1)

    with pytest.raises(InvalidRequest, match="neither age nor gender is given"):
        age_gender.evaluate(write_csv(tmp_path / "l.csv", "file", ["1.png"]), tmp_path, judge)


def test_the_labelled_face_among_several_is_judged(judge: Judge, tmp_path: Path) -> None:
    marks = [Mark(1, 16, 16, 128), Mark(2, 240, 40, 160)]
    (tmp_path / "both.png").write_bytes(tiny_models.encode(tiny_models.picture(marks)))
    image = judge.image(tmp_path / "both.png")
    faces = judge.pipeline.analyze(image, plugins=("age",))
    ages: list[Any] = [face.attributes["age"] for face in faces]  # the largest first
    middles = [(age["low"] + age["high"]) / 2 for age in ages]
    rows = [f"both.png,{middles[1]},16,16,144,144", f"both.png,{middles[0]},240,40,400,200"]

    labels = write_csv(tmp_path / "l.csv", "file,age,x_min,y_min,x_max,y_max", rows)
    told = figures(age_gender.evaluate(labels, tmp_path, judge))

    assert (told["age_mae"], told["not_detected"]) == (0, 0)


def test_faces_that_are_missed_are_judged_all_the_same_and_counted_apart(
    judge: Judge, tmp_path: Path
) -> None:
    put(tmp_path, "nobody.png", None)
    labels = write_csv(
        tmp_path / "l.csv",
        "file,age,gender,x_min,y_min,x_max,y_max",
        ["nobody.png,30,male,10,10,90,90", "nobody.png,30,male,,,,"],
    )

    told = figures(age_gender.evaluate(labels, tmp_path, judge))

    assert (told["faces"], told["not_detected"]) == (2, 2)
    assert told["age_mae"] is not None


@pytest.mark.parametrize("padding", [0.0, 0.5])
def test_a_face_may_be_found_with_black_around_the_picture(
    judge: Judge, tmp_path: Path, padding: float
) -> None:
    """The small detector finds a face whatever is around it, so its box has to be the same."""
    path = tmp_path / "crop.png"
    path.write_bytes(tiny_models.encode(tiny_models.picture([Mark(1, 0, 0, 128)], 128, 128)))
    labels = write_csv(tmp_path / "l.csv", "file,age", ["crop.png,1"])

    found = age_gender.evaluate(labels, tmp_path, judge, padding=padding)

    assert figures(found)["not_detected"] == 0
    assert figures(found)["padding"] == padding


def test_padding_is_black_and_says_where_the_picture_is() -> None:
    image = Image(np.full((10, 20, 3), 200, np.uint8))

    larger, corner = padded(image, 0.5)

    assert (larger.width, larger.height, corner) == (40, 20, (10, 5))
    assert larger.pixels.sum() == image.pixels.sum()
    assert (larger.pixels[5:15, 10:30] == 200).all()
    assert padded(image, 0.0)[0] is image


@pytest.mark.parametrize(
    ("label", "gender"),
    [("male", "male"), ("F", "female"), ("Woman", "female"), ("m", "male"), ("man", "male")],
)
def test_genders_may_be_spelt_in_many_ways(label: str, gender: str) -> None:
    assert gender_of(label) == gender


def judged(age: float | None, gender: str | None, answer: Answer) -> tuple[Person, Answer]:
    return Person(Path("a"), age, gender, "", None), answer


def test_figures_of_people_counted_by_hand() -> None:
    thirties = Answer(30, 40, 0.8, "male", 0.9, None, found=True)
    oldest = Answer(60, 80, 0.6, "female", 0.9, None, found=True)

    told = scores(
        [
            judged(31, "male", thirties),
            judged(45, "female", thirties),
            judged(95, None, oldest),
            judged(None, "female", oldest),
        ]
    )

    assert told.faces == 4
    assert told.age_mae == pytest.approx((4 + 10 + 25) / 3)
    assert told.age_bias == pytest.approx((4 - 10 - 25) / 3)
    assert told.age_range == pytest.approx(40 / 3)
    assert told.age_said_to_hold == pytest.approx(2.2 / 3)
    assert told.age_in_range == pytest.approx(2 / 3)  # 80 stands for all that is older
    assert told.gender_accuracy == pytest.approx(2 / 3)


def test_genders_are_shown_as_a_matrix(judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / put(tmp_path, "1.png", 1)
    _, gender = said(judge, path)
    labels = write_csv(tmp_path / "l.csv", "file,gender", [f"1.png,{other(gender)}"])

    (chart,) = age_gender.evaluate(labels, tmp_path, judge).charts

    wrong = ((0, 1), (0, 0)) if gender == "male" else ((0, 0), (1, 0))
    assert chart == Matrix("Gender", ("female", "male"), ("female", "male"), wrong)
