"""Detection: labelled faces in painted pictures, and figures that can be counted by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import tiny_models
from judges import tiny_judge, write_csv
from knownface.errors import InvalidRequest
from knownface.evaluation import detection
from knownface.evaluation.annotations import Truth, read_annotations
from knownface.evaluation.detection import Found, Seen, average_precision, match, scores
from knownface.evaluation.judging import Judge
from knownface.evaluation.results import Evaluation
from knownface.types import Box
from tiny_models import Mark

COLUMNS = "file,x_min,y_min,x_max,y_max"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with tiny_judge(tmp_path_factory.mktemp("models")) as opened:
        yield opened


def paint(path: Path, marks: Sequence[Mark]) -> None:
    path.write_bytes(tiny_models.encode(tiny_models.picture(marks)))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with two faces in a.png, a fainter one in b.png and none in c.png."""
    paint(tmp_path / "a.png", [Mark(1, 16, 16, 128), Mark(2, 240, 40, 160)])
    paint(tmp_path / "b.png", [Mark(3, 64, 64, 160, confidence=0.85)])
    paint(tmp_path / "c.png", [])
    return tmp_path


def figures(found: Evaluation) -> Any:
    return found.figures


def box(left: float, top: float, side: float, probability: float = 1.0) -> Box:
    return Box(left, top, left + side, top + side, probability)


def test_faces_are_found_missed_and_found_where_none_is(judge: Judge, pictures: Path) -> None:
    labels = write_csv(
        pictures / "labels.csv",
        COLUMNS,
        [
            "a.png,16,16,144,144",
            "a.png,240,40,400,200",
            "a.png,500,300,560,360",  # nothing is there
            "b.png,,,,",  # its face is not labelled
            "c.png,,,,",
        ],
    )

    found = detection.evaluate(labels, pictures, judge)

    told = figures(found)
    assert (told["recall"], told["precision"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (told["not_detected"], told["false_positives"]) == (1, 1)
    assert told["false_positives_per_picture"] == pytest.approx(1 / 3)
    assert told["average_precision"] == pytest.approx(2 / 3)
    assert told["data"] == {
        "faces": 3, "pictures": 3, "pictures_without_faces": 2, "bad_rows": 0,
    }  # fmt: skip
    assert told["empty_pictures_with_a_face"] == 1
    assert told["sizes"]["40 to 80 px"] == {"faces": 1, "not_detected": 1, "recall": 0}
    assert [m.caption for m in found.mistakes] == [
        "a.png: not detected", "b.png: found (85%), but not labelled",
    ]  # fmt: skip
    assert all(picture[:2] == b"\xff\xd8" for m in found.mistakes for picture in m.pictures)


def test_figures_are_told_by_threshold(judge: Judge, pictures: Path) -> None:
    labels = write_csv(
        pictures / "labels.csv", COLUMNS, ["a.png,16,16,144,144", "b.png,64,64,224,224"]
    )

    by_threshold = {
        row["threshold"]: row
        for row in figures(detection.evaluate(labels, pictures, judge))["thresholds"]
    }

    assert by_threshold[0.8]["recall"] == 1
    assert by_threshold[0.9]["recall"] == 0.5
    assert by_threshold[0.9]["false_positives"] == 1  # the second face of a.png, not labelled


def test_labelled_points_are_found_by_the_box_around_them(judge: Judge, pictures: Path) -> None:
    labels = pictures / "noses.json"
    labels.write_text(
        '{"noses": {"a.png": [[80, 80], [320, 120]], "b.png": [[10, 10]], "c.png": []}}'
    )

    told = figures(detection.evaluate(labels, pictures, judge))

    assert (told["faces"], told["not_detected"], told["false_positives"]) == (3, 1, 1)
    assert told["sizes"] == {}


def test_labels_of_dlib_are_understood(judge: Judge, pictures: Path) -> None:
    labels = pictures / "testing.xml"
    labels.write_text(
        "<?xml version='1.0' encoding='ISO-8859-1'?>\n<dataset><images>\n"
        "<image file='a.png'>\n<box top='16' left='16' width='128' height='128'/>\n"
        "<box top='40' left='240' width='160' height='160' ignore='1'/></image>\n"
        "<image file='b.png'>\n<box top='64' left='64' width='160'/></image>\n"
        "<image file='none.png'><box top='1' left='1' width='9' height='9'/></image>\n"
        "</images></dataset>"
    )

    found = detection.evaluate(labels, pictures, judge)

    told = figures(found)
    assert (told["faces"], told["recall"], told["precision"]) == (1, 1, 1)
    assert [(problem.line, problem.reason.split(",")[0]) for problem in found.problems] == [
        (7, "a box needs numbers as left"),
        (8, f"there is no picture 'none.png' in {pictures}"),
        (0, "the picture is left out"),
    ]


def test_a_picture_of_which_a_row_is_bad_is_left_out(pictures: Path) -> None:
    rows = ["a.png,16,16,144,144", "a.png,240,40,,200", "b.png,9,9,8,20", "c.png,,,,", "d.png,,,,"]

    annotated, problems = read_annotations(
        write_csv(pictures / "labels.csv", COLUMNS, rows), pictures
    )

    assert [one.path.name for one in annotated] == ["c.png"]
    assert [problem.line for problem in problems] == [3, 4, 6, 0, 0]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xml", "<dataset", "is no XML"),
        ("a.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "defines entities"),
        ("a.json", "[", "is no JSON"),
        ("a.json", "[" * 100_000, "is no JSON"),
        ("a.json", "[]", "has no object of points"),
        ("a.csv", "picture,x\na,1", "there is no column file"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(InvalidRequest, match=reason):
        read_annotations(tmp_path / name, tmp_path)


@pytest.mark.parametrize("name", ["a.xml", "a.json", "a.csv"])
def test_labels_that_cannot_be_read_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_annotations(tmp_path / name, tmp_path)


def test_points_that_are_none_leave_their_picture_out(pictures: Path) -> None:
    labels = pictures / "points.json"
    labels.write_text('{"a.png": [[1]], "b.png": 7, "c.png": [["x", 1]], "none.png": []}')

    annotated, problems = read_annotations(labels, pictures)

    assert annotated == []
    assert [problem.reason.partition(":")[0] for problem in problems] == [
        "a.png", "b.png", "c.png", "none.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"a.png": [[NaN, 5]]}'),
        ("a.json", '{"a.png": [[5, 1e999]]}'),
        ("a.json", '{"a.png": [[5, 1' + "0" * 400 + "]]}"),
        ("a.xml", "<box left='nan' top='1' width='9' height='9'/>"),
        ("a.xml", "<box left='1' top='1' width='inf' height='9'/>"),
    ],
)
def test_a_place_that_is_nowhere_leaves_its_picture_out(
    pictures: Path, name: str, content: str
) -> None:
    if content.startswith("<"):
        content = f"<images><image file='a.png'>{content}</image></images>"
    (pictures / name).write_text(content)

    annotated, problems = read_annotations(pictures / name, pictures)

    assert annotated == []
    assert problems


def test_a_picture_that_cannot_be_read_is_left_out_with_its_line(
    judge: Judge, pictures: Path
) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    labels = write_csv(pictures / "labels.csv", COLUMNS, ["c.png,,,,", "broken.png,1,1,9,9"])

    found = detection.evaluate(labels, pictures, judge)

    assert [problem.line for problem in found.problems] == [3]
    assert (figures(found)["recall"], figures(found)["data"]["bad_rows"]) == (None, 1)
    assert figures(found)["average_precision"] is None


def test_the_more_probable_box_is_the_labelled_face_and_a_second_one_is_wrong() -> None:
    truth = Truth(box(0, 0, 100))

    found = match([box(2, 0, 100, 0.9), box(0, 0, 100, 0.8)], [truth])

    assert [(one.box.probability, one.truth) for one in found] == [(0.9, truth), (0.8, None)]


def test_a_box_is_given_the_free_face_that_fits_it_best() -> None:
    near, far = Truth(box(0, 0, 100)), Truth(box(30, 0, 100))

    found = match([box(2, 0, 100, 0.9), box(4, 0, 100, 0.8)], [far, near])

    assert [one.truth for one in found] == [near, far]


@pytest.mark.parametrize(("shift", "fits"), [(33, True), (34, False)])
def test_boxes_that_overlap_by_half_are_the_same_face(shift: float, fits: bool) -> None:
    # (100 - 33) / (100 + 33) is 0.504, (100 - 34) / (100 + 34) is 0.493.
    (found,) = match([box(shift, 0, 100)], [Truth(box(0, 0, 100))])

    assert (found.truth is not None) == fits


def test_of_two_points_in_a_box_the_one_nearer_to_its_middle_is_meant() -> None:
    edge, middle = Truth(box(95, 50, 0)), Truth(box(52, 48, 0))

    found = match([box(0, 0, 100, 0.9), box(60, 0, 100, 0.8)], [edge, middle])

    assert [one.truth for one in found] == [middle, edge]


def test_an_ignored_face_is_neither_found_nor_missed_nor_wrong() -> None:
    ignored = Truth(box(0, 0, 100), ignored=True)
    found = match([box(0, 0, 100, 0.9), box(1, 0, 100, 0.8)], [ignored])

    told = scores([Seen(Path("a"), (ignored,), found)], 0.5)

    assert (told.faces, told.not_detected, told.false_positives) == (0, 0, 0)
    assert (told.recall, told.precision) == (None, None)


def test_average_precision_is_the_area_below_the_best_precisions() -> None:
    truths = tuple(Truth(box(200 * k, 0, 100)) for k in range(4))
    # right, wrong, right, wrong, right; one of four is missed.
    probabilities = (0.9, 0.8, 0.7, 0.6, 0.5)
    hits = (truths[0], None, truths[1], None, truths[2])
    found = tuple(Found(box(0, 0, 1, p), t) for p, t in zip(probabilities, hits, strict=True))

    # Recall 1/4 at precision 1, 2/4 at 2/3, 3/4 at 3/5.
    assert average_precision([Seen(Path("a"), truths, found)]) == pytest.approx(
        (1 + 2 / 3 + 3 / 5) / 4
    )


def test_boxes_of_one_probability_count_together() -> None:
    truth = Truth(box(0, 0, 100))
    one = Seen(Path("a"), (truth,), (Found(box(0, 0, 1, 0.9), None), Found(truth.box, truth)))
    other = Seen(Path("a"), (truth,), (Found(box(0, 0, 1, 1.0), None), Found(truth.box, truth)))

    assert average_precision([one]) == pytest.approx(1)
    assert average_precision([other]) == pytest.approx(0.5)


def test_two_labels_of_one_place_are_two_faces() -> None:
    truths = (Truth(box(0, 0, 100)), Truth(box(0, 0, 100)))
    seen = Seen(Path("a"), truths, match([box(0, 0, 100)], truths))

    assert scores([seen], 0.5).not_detected == 1
