"""Pairs of pictures, judged on small networks whose cosines are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from judges import put, tiny_judge, write_csv
from knownface.errors import InvalidRequest
from knownface.evaluation import verification
from knownface.evaluation.judging import Judge
from knownface.evaluation.portraits import similarities
from knownface.evaluation.results import Evaluation, Histogram
from knownface.evaluation.strangers import count_by_pairs, count_by_person, people_by_folder
from knownface.types import Calibration


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with tiny_judge(tmp_path_factory.mktemp("models")) as opened:
        yield opened


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of four people with two pictures each."""
    folder = tmp_path / "images"
    for person in range(4):
        put(folder, f"p{person}/a.png", person)
        put(folder, f"p{person}/b.png", person, like=(40, 0.2))
    return folder


SAME = [f"p{n}/a.png,p{n}/b.png,1" for n in range(4)]
DIFFERENT = [f"p{n}/a.png,p{(n + 1) % 4}/b.png,0" for n in range(4)]


def measure(
    judge: Judge, images: Path, rows: list[str], columns: str = "file_a,file_b,same", **more: Any
) -> Evaluation:
    labels = write_csv(images.parent / "pairs.csv", columns, rows)
    return verification.evaluate(labels, images, judge, **more)


def figures(found: Evaluation) -> Any:
    return found.figures


def test_people_who_are_nothing_alike_are_told_apart(judge: Judge, images: Path) -> None:
    found = measure(judge, images, [*SAME, *DIFFERENT])

    told = figures(found)
    assert (told["accuracy"], told["eer"], told["not_detected"]) == (1, 0, 0)
    assert told["data"] == {
        "pairs": 8,
        "same": 4,
        "different": 4,
        "pictures": 8,
        "pairs_without_two_faces": 0,
        "bad_rows": 0,
    }
    # Four strangers are too few for one in a hundred.
    assert told["tar_at_far"] == {}
    assert (told["model"], told["detector"]) == ("tiny-embedder", "tiny-detector")
    assert "onnxruntime" in told["runtime"] or "openvino" in told["runtime"]
    assert found.problems == ()
    assert 0.1 < told["threshold"]["cosine"] < 0.9


def test_a_pair_without_a_face_counts_as_told_different(judge: Judge, images: Path) -> None:
    put(images, "p0/none.png", None)
    rows = [*SAME, *DIFFERENT, "p0/a.png,p0/none.png,1", "p1/a.png,p0/none.png,0"]

    told = figures(measure(judge, images, rows))

    assert told["not_detected"] == 1
    assert told["data"]["pairs_without_two_faces"] == 2
    assert told["accuracy_found"] == 1
    assert told["accuracy"] == pytest.approx(0.9)


def test_the_folds_of_the_file_are_used(judge: Judge, images: Path) -> None:
    rows = [f"{n % 2},{row}" for n, row in enumerate([*SAME, *DIFFERENT])]

    told = figures(measure(judge, images, rows, "fold,file_a,file_b,same"))

    assert [(fold["fold"], fold["pairs"]) for fold in told["folds"]] == [("0", 4), ("1", 4)]


def test_a_single_fold_is_dealt_out_anew(judge: Judge, images: Path) -> None:
    rows = [f"1,{row}" for row in [*SAME, *DIFFERENT]]

    found = measure(judge, images, rows, "fold,file_a,file_b,same")

    assert len(figures(found)["folds"]) == 4
    assert "made here" in str(found.tables[0].rows[0])


def test_each_bad_row_is_told_and_left_out(judge: Judge, images: Path) -> None:
    (images / "broken.jpg").write_bytes(b"no picture")
    bad = [
        "p0/a.png,p9/a.png,0",
        "p0/a.png,p1/a.png,perhaps",
        "p0/a.png,broken.jpg,1",
        "p0/a.png,p0/a.png,1",
        "p0/a.png",
    ]

    found = measure(judge, images, [*bad, *SAME, *DIFFERENT])

    assert [problem.line for problem in found.problems] == [2, 3, 4, 5, 6]
    reasons = "\n".join(problem.reason for problem in found.problems)
    for reason in ("no picture 'p9/a.png'", "'perhaps'", "broken.jpg", "the same file", "empty"):
        assert reason in reasons
    assert figures(found)["data"]["bad_rows"] == 5
    assert figures(found)["data"]["pairs"] == 8


@pytest.mark.parametrize("rows", [SAME, DIFFERENT, [], ["x.png,y.png,1"]])
def test_nothing_to_compare_is_an_error_that_says_why(
    judge: Judge, images: Path, rows: list[str]
) -> None:
    with pytest.raises(InvalidRequest, match="Nothing can be measured"):
        measure(judge, images, rows)


def test_all_pairs_of_different_people_are_compared(judge: Judge, images: Path) -> None:
    told = figures(measure(judge, images, [*SAME, *DIFFERENT]))["all_pairs"]

    # 8 pictures are 28 pairs, of which 4 are of one person.
    assert (told["known_by"], told["different_pairs"], told["same_pairs"]) == ("folders", 24, 4)


def test_thresholds_say_what_they_stand_on(judge: Judge, tmp_path: Path) -> None:
    images = tmp_path / "images"
    for person in range(15):
        put(images, f"p{person:02}/a.png", person)
        put(images, f"p{person:02}/b.png", person)
    same = [f"p{n:02}/a.png,p{n:02}/b.png,1" for n in range(15)]
    different = [f"p{n:02}/a.png,p{m:02}/b.png,0" for n in range(15) for m in range(n)]

    found = measure(judge, images, [*same, *different])

    told = figures(found)
    assert told["tar_at_far"] == {"1e-2": 1.0}
    assert told["tar_at_far_detail"][0]["different_pairs"] == 105
    assert told["tar_at_far_detail"][0]["false_accepts"] <= 1
    assert told["all_pairs"]["thresholds"][0]["far"] == 1e-2
    assert told["all_pairs"]["thresholds"][0]["false_accepts"] <= 4
    rows = {row[0]: row[-1] for row in found.tables[1].rows}
    assert rows["1e-4"] == "needs 10,000 different pairs, there are 105"


def test_groups_are_told_apart_by_a_column(judge: Judge, images: Path) -> None:
    # Somebody of the south whose second picture shows no face.
    put(images, "p0/b.png", None)
    where = ["south", "south", "north", "north"] * 2
    rows = [f"{row},{place}" for row, place in zip([*SAME, *DIFFERENT], where, strict=True)]

    found = measure(judge, images, rows, "file_a,file_b,same,Region", by="Region")

    north, south = figures(found)["groups"]["values"]
    assert (north["group"], north["same"], north["different"]) == ("north", 2, 2)
    assert south["tar"] == 0.5
    assert north["tar"] == 1
    assert found.tables[-1].columns[0] == "Region"


def test_an_unknown_column_of_groups_is_refused(judge: Judge, images: Path) -> None:
    with pytest.raises(InvalidRequest, match="there is no column region"):
        measure(judge, images, [*SAME, *DIFFERENT], by="region")


def test_the_worst_pairs_are_shown_first(judge: Judge, images: Path) -> None:
    put(images, "p0/b.png", 3)
    put(images, "p2/b.png", 1)

    found = measure(judge, images, [*SAME, *DIFFERENT])

    worst = found.mistakes[0]
    assert "taken for" in worst.caption
    assert len(worst.pictures) == 2
    assert all(picture.startswith(b"\xff\xd8") for picture in worst.pictures)
    assert any("rightly told" in mistake.caption for mistake in found.mistakes)


def test_charts_show_same_and_different(judge: Judge, images: Path) -> None:
    found = measure(judge, images, [*SAME, *DIFFERENT])

    (histogram,) = (chart for chart in found.charts if isinstance(chart, Histogram))
    counts = {name: len(values) for name, values in histogram.series}
    assert counts == {"same person": 4, "different people": 4}
    assert len(found.charts) == 4


def test_folders_tell_who_is_who_at_the_depth_where_labels_agree() -> None:
    images = Path("images")

    def pair(a: str, b: str, same: bool) -> tuple[Path, Path, bool]:
        return images / a, images / b, same

    nested = [
        pair("x/anna/front/1", "x/anna/side/1", True),
        pair("x/anna/front/1", "x/ben/side/1", False),
    ]
    people = people_by_folder(nested, images)
    assert people is not None
    assert people[images / "x/anna/side/1"] == people[images / "x/anna/front/1"] == "x/anna"
    assert people[images / "x/ben/side/1"] == "x/ben"

    assert people_by_folder([pair("a/1", "b/1", True), pair("a/1", "b/2", False)], images) is None
    assert people_by_folder([pair("1", "2", True), pair("1", "3", False)], images) is None


def test_counting_by_person_agrees_with_looking_at_each_pair() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = [f"p{n}" for n in rng.integers(0, 7, 40)]

    counted = count_by_person(vectors, people)

    for tally, same in ((counted.strangers, False), (counted.own, True)):
        cosines = [
            float(vectors[i] @ vectors[j])
            for i in range(40)
            for j in range(i)
            if (people[i] == people[j]) == same
        ]
        assert len(tally) == len(cosines)
        assert tally.above(0.2) == sum(cosine > 0.2 for cosine in cosines)


def test_whoever_is_the_same_is_as_different_from_others() -> None:
    vectors = np.eye(5, dtype=np.float32)
    # 0 and 1 are one person, 2 and 3 another; 4 is only known to be different from 0.
    pairs = [(0, 1, True), (2, 3, True), (1, 2, False), (0, 4, False)]

    counted = count_by_pairs(vectors, pairs)

    # 0-2, 0-3, 1-2, 1-3 and 0-4, 1-4; nothing is known of 2-4 and 3-4.
    assert (len(counted.strangers), len(counted.own)) == (6, 2)


def test_pictures_in_one_folder_are_compared_by_what_pairs_tell(
    judge: Judge, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    for person in range(3):
        put(images, f"{person}a.png", person)
        put(images, f"{person}b.png", person)
    rows = [f"{n}a.png,{n}b.png,True" for n in range(3)]
    rows += [f"{n}a.png,{(n + 1) % 3}b.png,False" for n in range(3)]

    told = figures(measure(judge, images, rows))["all_pairs"]

    assert (told["known_by"], told["different_pairs"], told["same_pairs"]) == ("pairs", 12, 3)


def test_similarities_are_those_of_the_calibration() -> None:
    calibration = Calibration(1.16, 6.6)
    cosines = np.array([-1, 0, 0.363, 1, -np.inf])

    found = similarities(calibration, cosines)

    assert found[:4].tolist() == pytest.approx([calibration.similarity(c) for c in cosines[:4]])
    assert found[4] == 0


def test_tight_crops_can_be_given_room(judge: Judge, tmp_path: Path) -> None:
    """The small detector needs no room; a face must only be found in the same place again."""
    images = tmp_path / "images"
    for person in range(2):
        put(images, f"p{person}/a.png", person)
        put(images, f"p{person}/b.png", person)
    rows = ["p0/a.png,p0/b.png,1", "p1/a.png,p1/b.png,1", "p0/a.png,p1/b.png,0"]

    plain = measure(judge, images, rows)
    roomy = measure(judge, images, rows, padding=0.4)

    assert figures(roomy)["accuracy"] == figures(plain)["accuracy"] == 1
    assert figures(roomy)["not_detected"] == 0
    assert len(roomy.mistakes[0].pictures) == 2
