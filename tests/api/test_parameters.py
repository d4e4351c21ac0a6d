"""Parameters: every way in which CompreFace's clients write them, and every wrong one."""

from __future__ import annotations

import pytest

from knownface.api.parameters import Parameters
from knownface.errors import InvalidRequest, MissingParameter


def test_the_query_wins_over_a_form_field() -> None:
    assert Parameters(b"limit=1", [("limit", "2")]).integer("limit", 0, least=0) == 1


def test_a_form_field_is_a_parameter() -> None:
    assert Parameters(b"", [("limit", "2")]).integer("limit", 0, least=0) == 2


def test_of_several_numbers_the_first_counts() -> None:
    assert Parameters(b"limit=3&limit=4").integer("limit", 0, least=0) == 3


@pytest.mark.parametrize("query", [b"?&limit=5", b"&limit=5", b"&&limit=5&", b"limit=5&"])
def test_stray_separators_do_not_matter(query: bytes) -> None:
    assert Parameters(query.lstrip(b"?")).integer("limit", 0, least=0) == 5


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "on", "yes", "Yes", "1", " true "])
def test_truth_is_written_in_many_ways(value: str) -> None:
    assert Parameters(b"", [("status", value)]).flag("status", default=False) is True


@pytest.mark.parametrize("value", ["false", "False", "off", "no", "NO", "0"])
def test_and_so_is_falsehood(value: str) -> None:
    assert Parameters(b"", [("status", value)]).flag("status", default=True) is False


@pytest.mark.parametrize("value", ["2", "maybe", "tru", "y", "null", "undefined"])
def test_another_truth_value_is_refused_by_name(value: str) -> None:
    with pytest.raises(InvalidRequest, match="status"):
        Parameters(b"", [("status", value)]).flag("status", default=True)


@pytest.mark.parametrize("query", [b"", b"limit=&status=&det_prob_threshold=", b"limit=%20"])
def test_an_empty_value_means_the_default(query: bytes) -> None:
    parameters = Parameters(query)
    assert parameters.integer("limit", 7, least=0) == 7
    assert parameters.flag("status", default=True) is True
    assert parameters.probability("det_prob_threshold") is None


@pytest.mark.parametrize("value", ["0", "1", "1.0", "0.8", ".5", "1.", "8e-1", "+0.8", " 0.8 "])
def test_a_probability_is_a_number_from_0_to_1(value: str) -> None:
    assert Parameters(b"", [("t", value)]).probability("t") == float(value)


@pytest.mark.parametrize(
    "value",
    ["-0.1", "1.0001", "nan", "NaN", "inf", "-inf", "1e999", "abc", "0,8", "0.8?x=1", "1_0", "0x1"],
)
def test_another_probability_is_refused_by_name(value: str) -> None:
    with pytest.raises(InvalidRequest, match="det_prob_threshold"):
        Parameters(b"", [("det_prob_threshold", value)]).probability("det_prob_threshold")


@pytest.mark.parametrize(
    "value", ["-1", "abc", "1.0", "1e3", "0x10", "2147483648", "9" * 5000, "٣", "1 2", "1_0"]
)
def test_another_integer_is_refused_by_name(value: str) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        Parameters(b"", [("limit", value)]).integer("limit", 0, least=0)


@pytest.mark.parametrize(
    ("value", "page", "size"),
    [
        ("", 0, 20),
        ("0", 0, 20),
        ("1", 1, 1),
        ("-1", 0, 20),
        ("abc", 0, 20),
        ("1.5", 0, 20),
        ("2000", 2000, 2000),
        ("2001", 2001, 2000),
        ("99999999999999999999", 0, 20),
    ],
)
def test_a_wrong_page_or_size_falls_back_to_the_default(value: str, page: int, size: int) -> None:
    parameters = Parameters(b"", [("page", value), ("size", value)])
    assert parameters.forgiving("page", 0, least=0) == page
    assert parameters.forgiving("size", 20, least=1, most=2000) == size


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (b"", ()),
        (b"p=", ()),
        (b"p=a,b", ("a", "b")),
        (b"p=a&p=b", ("a", "b")),
        (b"p=a,%20b", ("a", "b")),
        (b"p=a+b%09c%0Ad", ("a", "b", "c", "d")),
        (b"p=,,a,,", ("a",)),
        (b"p=a,a&p=a", ("a",)),
        (b"p=undefined", ("undefined",)),
    ],
)
def test_words_are_parted_by_commas_white_space_and_repetition(
    query: bytes, words: tuple[str, ...]
) -> None:
    assert Parameters(query).words("p") == words


def test_a_required_parameter_that_is_missing_is_named() -> None:
    with pytest.raises(MissingParameter, match="Required parameter subject is missing"):
        Parameters(b"limit=1").required("subject")


def test_a_text_is_kept_as_it_was_sent() -> None:
    assert Parameters(b"subject=%20Ann%2Fb%3B%5C+%C3%A9&subject=x").text("subject") == " Ann/b;\\ é"
    assert Parameters("subject=Zoë".encode()).text("subject") == "Zoë"
    assert Parameters(b"subject=").text("subject") == ""


def test_the_second_question_mark_of_the_javascript_sdk_stays_in_the_name() -> None:
    parameters = Parameters(b"subject=bob?det_prob_threshold=0.8")
    assert parameters.text("subject") == "bob?det_prob_threshold=0.8"


@pytest.mark.parametrize("query", [b"subject=%FF", b"subject=\xff", b"%C3=1"])
def test_a_query_that_is_not_utf8_is_refused(query: bytes) -> None:
    with pytest.raises(InvalidRequest, match="UTF-8"):
        Parameters(query)
