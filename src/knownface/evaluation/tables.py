"""Reading CSV files that people made: whatever their program wrote, and every bad row by its line.

A row is a line: a quotation mark that is never closed spoils one row, not all that follow.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from knownface.errors import InvalidRequest
from knownface.evaluation.results import Problem

T = TypeVar("T")

SEPARATORS: Final = ",;\t|"
YES: Final = frozenset({"1", "1.0", "true", "t", "yes", "y", "same"})
NO: Final = frozenset({"0", "0.0", "false", "f", "no", "n", "different"})


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """What a line of the file says."""

    line: int
    value: T


def read_rows(
    path: Path, required: Sequence[str], parse: Callable[[dict[str, str]], T]
) -> tuple[list[Row[T]], list[Problem]]:
    """Return what `parse` makes of each row, and the rows that cannot be used.

    `parse` gets the cells by the lower-case name of their column, without surrounding spaces, and
    raises ValueError with the reason where a row is bad. Cells of `required` columns are never
    empty. Raises InvalidRequest when the file cannot be read or lacks a column.
    """
    text, problems = _text(path)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip(" \t")]
    if not numbered:
        raise InvalidRequest(f"{path} is empty; its first line names the columns.")
    first, heading = numbered[0]
    separator = max(SEPARATORS, key=heading.count)
    columns = _columns(path, first, heading, separator, required)
    rows = []
    for number, line in numbered[1:]:
        try:
            cells = _cells(line, separator, columns)
            for name in required:
                if not cells[name]:
                    raise ValueError(f"{name} is empty")
            rows.append(Row(number, parse(cells)))
        except ValueError as error:
            problems.append(Problem(str(path), number, str(error)))
    return rows, problems


def boolean(cells: Mapping[str, str], name: str) -> bool:
    """Return a cell as a truth value, however it is written."""
    word = cells[name].lower()
    if word not in YES | NO:
        raise ValueError(f"{name} is {cells[name]!r}, neither 1 (true, yes) nor 0 (false, no)")
    return word in YES


def number(cells: Mapping[str, str], name: str) -> float:
    """Return a cell as a finite number."""
    try:
        value = float(cells[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} is {cells[name]!r}, which is no number")
    return value


def picture(images: Path, name: str) -> Path:
    """Return the file of that name under a folder; ValueError when there is none."""
    for written in (name, name.replace("\\", "/")):
        path = images / written
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):  # a name that no file can have
            continue
    raise ValueError(f"there is no picture {name!r} in {images}")


def _text(path: Path) -> tuple[str, list[Problem]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), []
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        # What spreadsheets of another age write.
        reason = "is not UTF-8 and was read as Windows-1252: check names with accents"
        return data.decode("cp1252", "replace"), [Problem(str(path), 0, reason)]


def _columns(
    path: Path, line: int, heading: str, separator: str, required: Sequence[str]
) -> list[str]:
    try:
        columns = [name.strip().lower() for name in _split(heading, separator)]
    except ValueError as error:
        raise InvalidRequest(f"{path}, line {line}: {error}.") from None
    missing = [name for name in required if name not in columns]
    if missing:
        raise InvalidRequest(
            f"{path}, line {line}: there is no column {', '.join(missing)}; the first line names "
            f"the columns, here: {', '.join(columns)[:200]}."
        )
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise InvalidRequest(f"{path}, line {line}: there are two columns {', '.join(twice)}.")
    return columns


def _cells(line: str, separator: str, columns: Sequence[str]) -> dict[str, str]:
    cells = [cell.strip() for cell in _split(line, separator)]
    if any(cells[len(columns) :]):
        raise ValueError(f"it has {len(cells)} cells for {len(columns)} columns")
    cells += [""] * (len(columns) - len(cells))
    return dict(zip(columns, cells, strict=False))


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"it is no row of a CSV file ({error})") from None
