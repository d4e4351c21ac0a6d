"""Lists of pictures: CSV with the columns `file` and `subject`, and what exports add to them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from knownface.errors import ConfigurationError

COLUMNS: Final = ("image_id", "subject", "file", "sha256")

_NEEDED: Final = ("file", "subject")
_SEPARATORS: Final = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list, or the `problem` with it; what is not said is empty or None."""

    line: int
    file: str = ""
    subject: str = ""
    image_id: UUID | None = None
    sha256: str = ""
    problem: str = ""


def read(lines: Iterable[bytes], name: str) -> Iterator[Row]:
    """Read a list in UTF-8, with a byte order mark or without, whatever separates its columns.

    ConfigurationError, with the `name` of the list, when its first line names no such columns.
    """
    numbered = _Lines(lines)
    header = next(numbered, "")
    for separator in _SEPARATORS:
        columns = _columns(header, separator)
        if all(column in columns for column in _NEEDED):
            break
    else:
        raise ConfigurationError(
            f"The first line of {name} should name the columns file and subject, in UTF-8."
        )
    rows = csv.reader(numbered, delimiter=separator)
    while True:
        first = numbered.number + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            yield Row(first, problem=f"The line cannot be read: {error}.")
            continue
        if cells is None:
            return
        if numbered.undecodable >= first:
            yield Row(numbered.undecodable, problem="The line is not UTF-8.")
        elif any(cell.strip() for cell in cells):
            yield _row(first, dict(zip(columns, cells, strict=False)))


class _Lines(Iterator[str]):
    """Decoded lines; remembers the number of the last one, and of the last that was no UTF-8."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self.number = 0
        self.undecodable = 0

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            self.undecodable = self.number
            return line.decode(errors="replace")


def _columns(header: str, separator: str) -> list[str]:
    cells = next(csv.reader([header], delimiter=separator), [])
    return [cell.strip().lower() for cell in cells]


def _row(line: int, cells: dict[str, str]) -> Row:
    identity = cells.get("image_id", "").strip()
    file, subject = cells.get("file", ""), cells.get("subject", "")
    if not identity:  # typed by hand, not written by an export
        file, subject = file.strip(), subject.strip()
    sha256 = cells.get("sha256", "").strip().lower()
    if not file or not subject:
        missing = "file" if subject else "subject"
        return Row(line, file, subject, problem=f"The line names no {missing}.")
    if "\0" in file:
        return Row(line, file, subject, problem="The name of the file cannot be one.")
    try:
        image_id = UUID(identity) if identity else None
    except ValueError:
        return Row(line, file, subject, problem="image_id should be a UUID or empty.")
    return Row(line, file, subject, image_id, sha256)
