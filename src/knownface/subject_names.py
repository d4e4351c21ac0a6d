"""What a subject may be called."""

from __future__ import annotations

import unicodedata
from typing import Final

from knownface.errors import InvalidRequest

_LONGEST: Final = 255
# Whoever sends an address goes a step up at these, percent-encoded or not.
_NOT_IN_PATHS: Final = frozenset({".", ".."})


def checked_name(name: str) -> str:
    """Return a subject's name in Unicode's composed form, or say why it cannot be one."""
    name = unicodedata.normalize("NFC", name)
    categories = {unicodedata.category(character) for character in name}
    if categories <= {"Cf", "Zs", "Zl", "Zp"} or not name.strip():
        raise InvalidRequest("Subject name cannot be empty")
    if len(name) > _LONGEST:
        raise InvalidRequest(f"Subject name size must be between 1 and {_LONGEST}")
    if categories & {"Cc", "Cs"}:
        raise InvalidRequest("The name cannot contain control characters")
    return name


def new_name(name: str) -> str:
    """Return a name that a subject may get, as `checked_name`, or say why it cannot be one.

    One that is stored already may be another: it can still be read, renamed and deleted.
    """
    name = checked_name(name)
    if name in _NOT_IN_PATHS:
        raise InvalidRequest(
            f'A subject cannot be called "{name}": browsers and other clients take it out of '
            "addresses. Choose another name."
        )
    return name
