"""Parameters: texts of the query and of a multipart body, read as CompreFace reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl

from knownface.errors import InvalidRequest, MissingParameter
from knownface.types import Threshold

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_LARGEST: Final = 2**31 - 1
_MOST_DIGITS: Final = 32
_YES: Final = frozenset({"true", "on", "yes", "1"})
_NO: Final = frozenset({"false", "off", "no", "0"})


class Parameters:
    """All values of each name, those of the query first.

    An empty value means the default; of several the first counts. What cannot be read raises
    InvalidRequest that names the parameter.
    """

    def __init__(self, query: bytes, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in (*_pairs(query), *fields):
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """Return the value as it was sent, "" included, None when it was not."""
        values = self._values.get(name)
        return values[0] if values else None

    def required(self, name: str) -> str:
        """Return the value as it was sent, which has to be there (MissingParameter)."""
        value = self.text(name)
        if value is None:
            raise MissingParameter(name)
        return value

    def all(self, name: str) -> list[str]:
        """Return every value as it was sent."""
        return list(self._values.get(name, ()))

    def integer(self, name: str, default: int, *, least: int) -> int:
        """Return a whole number of at least `least`."""
        value = self._stripped(name)
        if not value:
            return default
        number = _integer(value)
        if number is None or number > _LARGEST:
            raise InvalidRequest(f"{name} should be an integer")
        if number < least:
            raise InvalidRequest(f"{name} should be equal or greater than {least}")
        return number

    def forgiving(self, name: str, default: int, *, least: int, most: int = _LARGEST) -> int:
        """Return a whole number, `default` for one that is wrong or too small, cut to `most`."""
        number = _integer(self._stripped(name))
        if number is None or number < least or number > _LARGEST:
            return default
        return min(number, most)

    def probability(self, name: str) -> float | None:
        """Return a number from 0 to 1, None when there is none."""
        value = self._stripped(name)
        if not value:
            return None
        if not _DECIMAL.fullmatch(value) or not 0.0 <= float(value) <= 1.0:
            raise InvalidRequest(f"{name} should be a number between 0.0 and 1.0")
        return float(value)

    def threshold(self) -> Threshold | None:
        """Return `similarity_threshold` or `max_fmr`, whichever was sent, None for neither."""
        similarity, rate = self.probability("similarity_threshold"), self.probability("max_fmr")
        if similarity is not None and rate is not None:
            raise InvalidRequest("Send either similarity_threshold or max_fmr, not both")
        if rate == 0.0:
            raise InvalidRequest("max_fmr should be greater than 0.0")
        return None if similarity is None and rate is None else Threshold(similarity, rate)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a truth value, written in any of the ways that CompreFace takes."""
        value = self._stripped(name).lower()
        if value and value not in _YES | _NO:
            raise InvalidRequest(f"{name} should be true or false")
        return value in _YES if value else default

    def words(self, name: str) -> tuple[str, ...]:
        """Return the words of all values, each once, split at commas and white space."""
        words = re.split(r"[,\s]+", ",".join(self._values.get(name, ())))
        return tuple(dict.fromkeys(word for word in words if word))

    def _stripped(self, name: str) -> str:
        return (self.text(name) or "").strip()


def _integer(value: str) -> int | None:
    if not _INTEGER.fullmatch(value) or len(value) > _MOST_DIGITS:
        return None
    return int(value)


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("The query is not UTF-8") from None
