"""Names as people type them, and the keys by which they are found whatever their letter case."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from knownface.errors import InvalidRequest

# Four bytes each, so many characters still fit into an index of PostgreSQL.
SORTING_LENGTH: Final = 255
# The accents of Latin, Greek and Cyrillic; in other scripts such marks are vowels.
_ACCENTS: Final = re.compile("[\\u0300-\\u036f]")


def normalized(name: str) -> str:
    """Return the spelling to store: NFC. InvalidRequest where no database can hold it."""
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise InvalidRequest("A name must not contain NUL characters or halves of surrogate pairs.")
    return unicodedata.normalize("NFC", name)


def name_key(name: str) -> bytes:
    """Return the same 32 bytes for all spellings of a name that differ in letter case or
    composition alone.

    This is Unicode's canonical caseless match (definition D145), hashed, because a folded name of
    255 characters can be longer than PostgreSQL takes into an index.
    """
    return hashlib.sha256(_caseless(name).encode()).digest()


def sorting(name: str) -> str:
    """Return what a name is listed and searched by: caseless, without accents, and cut short.

    Ordered by code points this comes near to what people expect of an alphabet, and it is the same
    order in either database.
    """
    return _ACCENTS.sub("", _caseless(name))[:SORTING_LENGTH]


def _caseless(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", normalized(name))
    return unicodedata.normalize("NFD", decomposed.casefold())
