"""The report: one file that shows everything, obeys nothing and fetches nothing."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Final

import numpy as np
import pytest

from knownface import __version__
from knownface.evaluation.report import MOST_PROBLEMS, flat, html
from knownface.evaluation.results import (
    Curve,
    Evaluation,
    Histogram,
    Matrix,
    Mistake,
    Problem,
    Scatter,
    Table,
)

MADE: Final = datetime(2026, 11, 22, 19, 5, tzinfo=UTC)
HOSTILE: Final = "\"><script>alert(1)</script><img src='https://evil.example/x'>&amp;.jpg"
EMPTY: Final = {"meta", "img", "br", "wbr", "circle", "path", "polyline", "polygon"}


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and the text of each kind of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return self.texts["body"][0]


def evaluation(name: str = "a.jpg") -> Evaluation:
    line = np.linspace(0.001, 1, 50)
    return Evaluation(
        kind="age-gender",
        figures={
            "accuracy": 0.98765,
            "tar_at_far": {"1e-3": 0.875},
            "folds": [{"fold": name, "accuracy": 0.5}],
            "not_detected": 1234,
            "eer": None,
            "model": "sface",
            "versions": {"detector": "yunet-2023mar"},
            "data": {"faces": 56789},
            "confusion": {"values": ["yes", "no"]},
        },
        tables=(
            Table(
                "In short", ("figure", "value", "on"), (("Accuracy", "98.77 %", name), ("x", 3, ""))
            ),
            Table(name, (name, "faces", "right"), ((name, 4321, "12.34 %"), ("b", 5, "–"))),
        ),
        charts=(
            Curve(name, name, "y", ((name, line, line), ("b", line, 1 - line)), log_x=True),
            Histogram(name, "x", ((name, line), ("b", line)), 0.5),
            Matrix(name, (name, "b"), (name, "b"), ((77, 1), (2, 88))),
            Scatter(name, "x", "y", line, line),
        ),
        mistakes=(Mistake(f"{name}: 70, said 34", (b"first", b"second")), Mistake("gone", (b"",))),
        problems=(Problem(name, 17, f"{name} is no number"), Problem("b.jpg", 0, "unreadable")),
    )


def page(name: str = "a.jpg") -> Page:
    return Page(html(evaluation(name), title=name, made=MADE, command=f"knownface '{name}'"))


def test_a_report_is_a_whole_page_whose_elements_are_closed() -> None:
    shown = page()

    assert shown.open == []
    assert shown.texts["title"][0] == "a.jpg"
    assert shown.texts["h1"] == ["a.jpg"]
    assert [attributes.get("lang") for attributes in shown.all("html")] == ["en"]


def test_every_figure_and_cell_is_on_it() -> None:
    text = page().text

    for shown in ("0.9877", "0.875", "1,234", "98.77 %", "4,321", "12.34 %", "77", "98.7 %"):
        assert shown in text, shown
    assert "a.jpg, line" not in text
    assert "17" in text
    assert "a.jpg is no number" in text


def test_it_says_how_it_was_made() -> None:
    shown = page()

    facts = dict(zip(shown.texts["dt"], shown.texts["dd"], strict=False))
    assert f"Knownface {__version__}" in shown.text
    assert "knownface 'a.jpg'" in shown.text
    assert "2026-11-22T19:05:00+00:00" in shown.text
    assert "22 November 2026, 19:05 UTC" in shown.text
    assert {"model", "versions.detector", "data.faces"} <= set(facts)
    assert "confusion.values[0]" not in facts


def test_what_comes_from_labels_is_shown_and_never_obeyed() -> None:
    shown = page(HOSTILE)

    assert shown.all("script") == []
    assert all(
        (image["src"] or "").startswith("data:image/jpeg;base64,") for image in shown.all("img")
    )
    assert shown.text.count(HOSTILE) >= 8
    assert shown.open == []
    assert not [a for _, attributes in shown.elements for a in attributes if a.startswith("on")]


def test_it_fetches_nothing() -> None:
    text = html(evaluation(), title="t", made=MADE)
    shown = Page(text)

    assert "://" not in text
    assert not re.search(r"@import|url\(|<link|<iframe|<script|srcset|href", text)
    policy = next(m["content"] or "" for m in shown.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'")


def test_the_pictures_of_mistakes_are_in_it() -> None:
    sources = [image["src"] or "" for image in page().all("img")]

    assert [base64.b64decode(s.partition(",")[2]) for s in sources] == [b"first", b"second"]


def test_charts_have_a_title_and_a_description_in_words() -> None:
    shown = page()
    drawings = [svg for svg in shown.all("svg") if svg.get("role") == "img"]
    named = {e["id"] for _, e in shown.elements if e.get("id")}

    assert len(drawings) == 3
    assert len(named) == 6
    for svg in drawings:
        assert set((svg["aria-labelledby"] or "").split()) <= named
    assert all(shown.texts["desc"])


def test_tables_have_headings_for_rows_and_columns() -> None:
    shown = page()

    assert len(shown.texts["caption"]) == len(shown.all("table"))
    assert all(head.get("scope") in ("row", "col") for head in shown.all("th"))


def test_columns_of_numbers_are_aligned_and_others_are_not() -> None:
    table = Table("t", ("name", "faces", "note"), (("a", 1, "x"), ("b", "–", "2")))
    shown = Page(html(Evaluation("mask", {}, (Table("", ("a",), ()), table)), title="", made=MADE))

    assert [cell.get("class") for cell in shown.all("td")] == ["number", None] * 2


def test_a_headline_of_many_columns_is_a_table() -> None:
    table = Table("wide", ("a", "b", "c", "d"), (("1", "2", "3", "4"),))

    shown = Page(html(Evaluation("mask", {}, (table,)), title="", made=MADE))

    assert shown.texts["caption"] == ["wide"]


def test_an_evaluation_of_nothing_is_a_page_too() -> None:
    shown = Page(html(Evaluation("mask", {}), title="Nothing", made=MADE))

    assert shown.texts["h2"] == ["How this was made"]


def test_of_very_many_problems_the_first_are_shown_and_all_are_counted() -> None:
    problems = tuple(Problem(f"{n}.jpg", n, "bad") for n in range(1, MOST_PROBLEMS + 11))

    text = html(Evaluation("mask", {}, problems=problems), title="", made=MADE)

    assert "510 rows or pictures were left out, of which these are the first 500" in text
    assert "500.jpg" in text
    assert "501.jpg" not in text


def test_a_name_that_is_no_text_does_not_spoil_the_report() -> None:
    problem = Problem("gr\udcfcn.jpg", 1, "bad")

    text = html(Evaluation("mask", {}, problems=(problem,)), title="", made=MADE)

    assert text.encode("utf-8").count(b"gr?n.jpg") == 1


@pytest.mark.parametrize(
    ("value", "singles"),
    [
        ({"a": {"b": 1}, "c": [2, {"d": 3}]}, [("a.b", 1), ("c[0]", 2), ("c[1].d", 3)]),
        ({}, []),
        ({"a": "text", "b": None}, [("a", "text"), ("b", None)]),
    ],
    ids=["nested", "empty", "single"],
)
def test_nested_figures_become_single_ones(
    value: dict[str, object], singles: list[tuple[str, object]]
) -> None:
    assert list(flat(value)) == singles
