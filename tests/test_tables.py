"""CSV files of people: what is understood, and how what is not is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knownface.errors import InvalidRequest
from knownface.evaluation.results import Problem
from knownface.evaluation.tables import Row, boolean, number, picture, read_rows


def read(
    path: Path, text: str | bytes, *required: str
) -> tuple[list[Row[dict[str, str]]], list[Problem]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_rows(path, required or ("file", "label"), dict)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


def test_rows_come_with_the_line_they_stand_on(path: Path) -> None:
    rows, problems = read(path, "file,label\na.jpg,1\n\n  \nb.jpg,0\n")

    assert rows == [
        Row(2, {"file": "a.jpg", "label": "1"}),
        Row(5, {"file": "b.jpg", "label": "0"}),
    ]
    assert problems == []


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na b.jpg,1\n",
        "\ufefffile,label\r\na b.jpg,1\r\n",
        "file;label\ra b.jpg;1",
        "file\tlabel\na b.jpg\t1",
        '"File" , LABEL\n"a b.jpg" , "1"',
        "label,file,more\n1,a b.jpg,whatever",
        "\n\nfile,label,\na b.jpg,1,\n",
        "file,label\na b.jpg,1,,,\n",
    ],
    ids=["plain", "spreadsheet", "semicolon", "tab", "spaces", "more", "late", "commas"],
)
def test_what_other_programs_write_is_understood(path: Path, text: str) -> None:
    rows, problems = read(path, text)

    assert [(row.value["file"], row.value["label"]) for row in rows] == [("a b.jpg", "1")]
    assert problems == []


def test_other_encodings_are_understood(path: Path) -> None:
    rows, problems = read(path, "file,label\nzoë.jpg,1\n".encode("utf-16"))
    assert (rows[0].value["file"], problems) == ("zoë.jpg", [])

    rows, problems = read(path, "file,label\nzoë.jpg,1\n".encode("cp1252"))
    assert rows[0].value["file"] == "zoë.jpg"
    assert "Windows-1252" in str(problems[0])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.jpg", "label is empty"),
        (",1", "file is empty"),
        ("a.jpg,1,2", "3 cells for 2 columns"),
        ('"a.jpg,1', "a quotation mark that is not closed"),
        (f"{'a' * 200_000},1", "no row of a CSV file"),
    ],
    ids=["short", "empty", "long", "quote", "endless"],
)
def test_a_bad_row_is_told_by_its_line_and_costs_no_other(
    path: Path, row: str, reason: str
) -> None:
    rows, problems = read(path, f"file,label\na.jpg,1\n{row}\nb.jpg,0\n")

    assert [row.line for row in rows] == [2, 4]
    assert [problem.line for problem in problems] == [3]
    assert reason in problems[0].reason
    assert str(problems[0]).startswith(f"{path}, line 3: ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("a.jpg,1\nb.jpg,0\n", "line 1: there is no column file, label"),
        ("file,label,file\n", "two columns file"),
        ('"file,label\n', "a quotation mark"),
    ],
    ids=["empty", "headless", "twice", "quote"],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(
    path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(InvalidRequest, match=complaint) as refused:
        read(path, text)
    assert str(path) in refused.value.message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_rows(tmp_path, ("file",), dict)


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_gets_through_unnoticed(path: Path, content: bytes) -> None:
    """Each line that is not blank becomes a row or a problem, whatever its bytes are."""
    heading = b"file,label\n"
    path.write_bytes(heading + content)
    rows, problems = read_rows(path, ("file", "label"), dict)

    told = [row.line for row in rows] + [problem.line for problem in problems if problem.line]
    assert len(told) == len(set(told))
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    assert sorted(told) == [n for n, line in enumerate(lines, 2) if line.strip(b" \t")]


def test_truth_is_written_in_many_ways() -> None:
    for word in ("1", "1.0", "TRUE", "Yes", "y", "same"):
        assert boolean({"same": word}, "same") is True
    for word in ("0", "0.0", "False", "NO", "n", "different"):
        assert boolean({"same": word}, "same") is False
    with pytest.raises(ValueError, match="'maybe', neither 1"):
        boolean({"same": "maybe"}, "same")


def test_only_finite_numbers_are_numbers() -> None:
    assert number({"yaw": "-4.5e1"}, "yaw") == -45
    for word in ("", "nan", "inf", "12px"):
        with pytest.raises(ValueError, match="no number"):
            number({"yaw": word}, "yaw")


def test_a_picture_is_found_under_its_folder(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "1.jpg").touch()

    assert picture(tmp_path, "anna/1.jpg") == tmp_path / "anna" / "1.jpg"
    assert picture(tmp_path, "anna\\1.jpg") == tmp_path / "anna" / "1.jpg"
    for name in ("anna/2.jpg", "anna", "a" * 5000, "\0"):
        with pytest.raises(ValueError, match="there is no picture"):
            picture(tmp_path, name)
