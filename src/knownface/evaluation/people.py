"""Pictures of named people: a folder with a folder for each, or a CSV file that names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from knownface.errors import InvalidRequest
from knownface.evaluation.results import Problem
from knownface.evaluation.tables import picture, read_rows


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture and who is on it, "" where nobody knows; `line` is where a CSV file says so."""

    path: Path
    subject: str
    line: int = 0


def read_people(
    place: Path, images: Path | None, *, unknown: bool
) -> tuple[list[Labelled], list[Problem]]:
    """Return the pictures of a folder or CSV file (file, subject), and what is left out.

    In a folder each sub-folder is a person. A picture beside those, or a row without a subject, is
    of somebody unknown where there may be `unknown` ones, else it is left out.
    """
    problems: list[Problem] = []
    if place.is_dir():
        found = _folder(place)
    elif place.is_file():
        found, problems = _manifest(place, images)
    else:
        raise InvalidRequest(f"{place} is neither a folder nor a file.")
    if not unknown:
        nameless = "nobody says who this is: put it into a folder with the name of the person"
        problems += [Problem(*_where(place, one), nameless) for one in found if not one.subject]
        found = [one for one in found if one.subject]
    return found, problems


def problem(place: Path, labelled: Labelled, reason: str) -> Problem:
    """Return why a picture is left out; in a CSV file by its line."""
    named = f"{labelled.path}: {reason}" if labelled.line else reason
    return Problem(*_where(place, labelled), named)


def _where(place: Path, labelled: Labelled) -> tuple[str, int]:
    return (str(place), labelled.line) if labelled.line else (str(labelled.path), 0)


def _folder(place: Path) -> list[Labelled]:
    found = []
    for path in sorted(place.rglob("*")):
        parts = path.relative_to(place).parts
        # Hidden files are what systems leave behind (.DS_Store, ._portrait.jpg), not pictures.
        if path.is_file() and not any(part.startswith(".") for part in parts):
            found.append(Labelled(path, parts[0] if len(parts) > 1 else ""))
    return found


def _manifest(place: Path, images: Path | None) -> tuple[list[Labelled], list[Problem]]:
    folder = images or images_beside(place)

    def parse(cells: dict[str, str]) -> tuple[Path, str]:
        if "subject" not in cells:
            raise InvalidRequest(f"{place}: there is no column subject.")
        return picture(folder, cells["file"]), cells["subject"]

    rows, problems = read_rows(place, ("file",), parse)
    return [Labelled(row.value[0], row.value[1], row.line) for row in rows], problems


def images_beside(labels: Path) -> Path:
    """Return where the pictures of a CSV file lie: in `images` beside it, else right beside it."""
    folder = labels.parent / "images"
    return folder if folder.is_dir() else labels.parent
