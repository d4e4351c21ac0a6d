"""What a subject may be called."""

from __future__ import annotations

import pytest

from knownface.errors import InvalidRequest
from knownface.subject_names import checked_name


@pytest.mark.parametrize("name", ["a", "/;\\", "  x ", "é" * 255, "名", "a\u200bb", "x" * 255])
def test_nearly_any_string_is_a_name(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", "\u3000", "\u200b", "x" * 256, "a\nb", "a\0", "\x7f", "\ud800"]
)
def test_blank_long_and_unprintable_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        checked_name(name)


def test_names_are_stored_composed() -> None:
    assert checked_name("Zoe\u0308") == "Zoë"
