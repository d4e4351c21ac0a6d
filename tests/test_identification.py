"""Galleries and probes, judged on small networks whose cosines are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from judges import put, tiny_judge, write_csv
from knownface.errors import InvalidRequest
from knownface.evaluation import identification
from knownface.evaluation.judging import Judge
from knownface.evaluation.results import Evaluation


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with tiny_judge(tmp_path_factory.mktemp("models")) as opened:
        yield opened


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Return a gallery of five people."""
    for person in range(5):
        put(tmp_path / "gallery", f"p{person}/1.png", person)
    return tmp_path / "gallery"


@pytest.fixture
def probes(tmp_path: Path) -> Path:
    """Return probes of these people, each a little like somebody else."""
    for person in range(5):
        put(tmp_path / "probes", f"p{person}/2.png", person, like=(20, 0.3))
    return tmp_path / "probes"


def figures(found: Evaluation) -> Any:
    return found.figures


def test_people_of_the_gallery_are_found(judge: Judge, gallery: Path, probes: Path) -> None:
    told = figures(identification.evaluate(gallery, probes, judge))

    assert (told["rank1"], told["rank1_found"], told["rank10"]) == (1, 1, 1)
    assert (told["not_detected"], told["fnir_at_fpir"]) == (0, {})
    assert told["data"]["subjects"] == 5
    assert (told["data"]["known"], told["data"]["unknown"]) == (5, 0)


def test_who_looks_like_somebody_else_is_found_second(
    judge: Judge, gallery: Path, probes: Path
) -> None:
    put(probes, "p0/2.png", 0, like=(1, 0.6))

    found = identification.evaluate(gallery, probes, judge)

    assert figures(found)["rank1"] == 0.8
    assert figures(found)["rank5"] == 1
    assert found.mistakes[0].caption.startswith("p0 is nearest to p1")
    assert len(found.mistakes[0].pictures) == 2


def test_unknown_people_set_the_threshold(judge: Judge, gallery: Path, probes: Path) -> None:
    """Ten unknown, one of them very like somebody: one in ten may pass, but not one in 100."""
    for person in range(30, 39):
        put(probes, f"stranger{person}/1.png", person)
    put(probes, "loose.png", 39, like=(0, 0.6))
    put(probes, "p1/2.png", 1, like=(20, 0.55))

    told = figures(identification.evaluate(gallery, probes, judge))

    assert told["data"]["unknown"] == 10
    # The one who passes at 1e-1 is more like p0 than p1 is like p1.
    assert told["fnir_at_fpir"] == {"1e-1": 0, "1e-2": pytest.approx(0.2)}
    tenth, usual = told["fnir_at_fpir_detail"]
    assert (tenth["false_positives"], usual["false_positives"]) == (1, 0)
    assert usual["cosine"] > tenth["cosine"]


def test_a_table_says_that_few_unknown_people_are_few(
    judge: Judge, gallery: Path, probes: Path
) -> None:
    put(probes, "loose.png", 39)

    found = identification.evaluate(gallery, probes, judge)

    assert "too few for this rate" in str(found.tables[1].rows)


def test_a_person_whose_face_is_not_found_is_missed(
    judge: Judge, gallery: Path, probes: Path
) -> None:
    put(probes, "p0/2.png", None)
    put(gallery, "p1/1.png", None)

    told = figures(identification.evaluate(gallery, probes, judge))

    assert told["not_detected"] == 2
    assert told["data"]["gallery_not_detected"] == 1
    # p0 has no face, and p1 is not in the gallery's index: both are missed.
    assert told["rank1"] == pytest.approx(0.6)
    assert told["rank1_found"] == 0.75


def test_unknown_people_without_a_face_are_never_named(
    judge: Judge, gallery: Path, probes: Path
) -> None:
    put(probes, "loose.png", None)

    told = figures(identification.evaluate(gallery, probes, judge))

    assert told["fnir_at_fpir"] == {"1e-2": 0}
    assert told["fnir_at_fpir_detail"][0]["cosine"] == -1


def test_what_cannot_be_used_is_told(judge: Judge, gallery: Path, probes: Path) -> None:
    (probes / "p0" / "notes.txt").write_text("not a picture")
    (probes / ".DS_Store").write_bytes(b"of a system")
    put(gallery, "loose.png", 7)
    (probes / "p1" / "same.png").symlink_to(gallery / "p1" / "1.png")

    found = identification.evaluate(gallery, probes, judge)

    told = "\n".join(map(str, found.problems))
    assert len(found.problems) == 3
    assert "notes.txt: " in told
    assert "loose.png: nobody says who this is" in told
    assert "same.png: it is in the gallery, too" in told
    assert figures(found)["rank1"] == 1


def test_a_csv_file_names_people_too(judge: Judge, gallery: Path, probes: Path) -> None:
    put(probes, "street.png", 30)
    names = write_csv(
        gallery.parent / "gallery.csv", "file,subject", [f"gallery/p{n}/1.png,P{n}" for n in (0, 1)]
    )
    asked = write_csv(
        gallery.parent / "probes.csv",
        "file,subject",
        ["probes/p0/2.png,P0", "probes/p1/2.png,P1", "probes/street.png,", "gone.png,P0"],
    )

    found = identification.evaluate(names, asked, judge)

    assert figures(found)["rank1"] == 1
    assert figures(found)["data"]["unknown"] == 1
    assert [(problem.file, problem.line) for problem in found.problems] == [(str(asked), 5)]


def test_a_csv_file_without_subjects_is_refused(judge: Judge, gallery: Path, probes: Path) -> None:
    names = write_csv(gallery / "gallery.csv", "file,who", ["p0/1.png,P0"])

    with pytest.raises(InvalidRequest, match="no column subject"):
        identification.evaluate(names, probes, judge)


def test_nothing_to_search_is_an_error_that_says_why(
    judge: Judge, gallery: Path, probes: Path, tmp_path: Path
) -> None:
    put(tmp_path / "faceless", "p0/1.png", None)
    (tmp_path / "empty").mkdir()

    with pytest.raises(InvalidRequest, match="no picture of the gallery has a face"):
        identification.evaluate(tmp_path / "faceless", probes, judge)
    with pytest.raises(InvalidRequest, match="no probe is left"):
        identification.evaluate(gallery, tmp_path / "empty", judge)
    with pytest.raises(InvalidRequest, match="in the gallery, too"):
        identification.evaluate(gallery, gallery, judge)
    with pytest.raises(InvalidRequest, match="neither a folder nor a file"):
        identification.evaluate(gallery, tmp_path / "absent", judge)


def test_unknown_people_alone_say_nothing_about_finding_known_ones(
    judge: Judge, gallery: Path, tmp_path: Path
) -> None:
    put(tmp_path / "street", "1.png", 30)

    found = identification.evaluate(gallery, tmp_path / "street", judge)

    assert (figures(found)["rank1"], figures(found)["fnir_at_fpir"]) == (None, {})
    assert found.tables[0].rows[0][1] == "–"
    assert len(found.charts) == 1
    assert "nobody in it is in the gallery" in str(found.problems[0])


def test_charts_show_ranks_and_what_a_threshold_costs(
    judge: Judge, gallery: Path, probes: Path
) -> None:
    put(probes, "loose.png", 30)

    titles = [chart.title for chart in identification.evaluate(gallery, probes, judge).charts]

    assert titles == [
        "Right subject among the first",
        "Known people missed, by unknown people named",
        "Similarity of the nearest subject",
    ]
