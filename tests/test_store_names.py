"""Names are found whatever their letter case and composition, and kept as they were typed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownface.errors import InvalidRequest
from knownface.store.names import name_key, normalized

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@given(names)
def test_a_spelling_has_the_key_of_the_name_as_typed(name: str) -> None:
    assert name_key(normalized(name)) == name_key(name)
    assert normalized(normalized(name)) == normalized(name)


@given(
    names, st.sampled_from(["NFC", "NFD"]), st.sampled_from([str.upper, str.lower, str.casefold])
)
def test_letter_case_and_composition_make_no_difference(
    name: str, form: str, change: object
) -> None:
    assert callable(change)
    # Upper-casing loses more than letter case in some scripts; what folds alike is alike.
    changed = unicodedata.normalize(form, change(name))  # type: ignore[arg-type]  # of a parameter
    alike = unicodedata.normalize("NFD", changed).casefold() == (
        unicodedata.normalize("NFD", name).casefold()
    )
    assert not alike or name_key(changed) == name_key(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada", "aDA"),
        ("Zo\u00e9", "ZOE\u0301"),
        ("stra\u00dfe", "STRASSE"),
        (
            "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
            "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3",
        ),
        ("\u1fb3\u0345", "\u0391\u0399\u0399"),
        ("\ufb03", "FFI"),
    ],
)
def test_these_are_one_name(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("Ada", "Ada "), ("e", "\u00e9"), ("\u0131", "i")])
def test_these_are_two_names(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


@pytest.mark.parametrize("name", ["\0", "a\ud800", "\udfff"])
def test_what_no_database_holds_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        name_key(name)
