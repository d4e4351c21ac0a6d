"""What is given to and comes from administration: names, ends of keys, parts of lists."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from knownface.errors import InvalidRequest, UnusableName
from knownface.store.names import normalized

if TYPE_CHECKING:
    from knownface.store.overview import ServiceInfo

T = TypeVar("T")

LONGEST_NAME: Final = 50
NOT_IN_NAMES: Final = frozenset(";/\\")


class Same(enum.Enum):
    """Stands for a value that is to stay as it is."""

    SAME = "same"


SAME: Final = Same.SAME


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of what there is, and how many there are in all."""

    items: Sequence[T]
    page: int
    size: int
    total: int


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a list is wanted: names that hold `search`, the page and its size.

    Where none is given to a use case, it is all of the list.
    """

    search: str = ""
    page: int = 0
    size: int = 50

    def of(self, items: Sequence[T], name: Callable[[T], str]) -> Listing[T]:
        """Return the part of a list."""
        wanted = normalized(self.search).strip().casefold()
        found = [one for one in items if wanted in name(one).casefold()]
        first = self.page * self.size
        return Listing(found[first : first + self.size], self.page, self.size, len(found))


@dataclass(frozen=True, slots=True)
class Made:
    """A service that was just made, with its key, which nobody can read any more later."""

    info: ServiceInfo
    key: str


def usable_title(name: str, what: str) -> str:
    """Return the name for an application or service, as CompreFace has them.

    InvalidRequest where it is blank or too long, UnusableName for characters that it has not.
    """
    name = normalized(name).strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(
            f"The {what}'s name must have 1 to {LONGEST_NAME} printable characters"
        )
    if NOT_IN_NAMES.intersection(name):
        raise UnusableName
    return name


def listed(part: Part | None, found: Sequence[T], name: Callable[[T], str]) -> Listing[T]:
    """Return the part of a list, or all of it."""
    return part.of(found, name) if part else Listing(found, 0, len(found), len(found))


def usable_key_name(name: str) -> str:
    """Return the name for a key (InvalidRequest)."""
    name = normalized(name).strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"The key's name must have 1 to {LONGEST_NAME} printable characters")
    return name


def future(moment: datetime | None) -> datetime | None:
    """Return the end of a key in UTC; InvalidRequest for one that is over."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise InvalidRequest("expires_at lies in the past")
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the last hours of the year 9999, in the west
        raise InvalidRequest("expires_at lies too far ahead") from None
