"""Names as people type them, and the keys by which they are found whatever their letter case."""

from __future__ import annotations

import hashlib
import unicodedata

from knownface.errors import InvalidRequest


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
    decomposed = unicodedata.normalize("NFD", normalized(name))
    folded = unicodedata.normalize("NFD", decomposed.casefold())
    return hashlib.sha256(folded.encode()).digest()
