"""What the program can do is documented, and what is documented is what it does."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import click
import pytest

from knownface import errors
from knownface.cli import main
from knownface.errors import KnownfaceError
from knownface.settings import catalogue

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCUMENTS = (README, *sorted((ROOT / "docs").rglob("*.md")))
CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, KnownfaceError)
]
PATHS = [
    path
    for name, command in main.commands.items()
    for path in (
        [f"{name} {inner}" for inner in command.commands]
        if isinstance(command, click.Group)
        else [name]
    )
]


def text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text("utf-8") for name in names)


def documented_codes() -> set[tuple[int, int]]:
    """Return each (status, code) of the table of errors; a cell may list several."""
    tables = text("docs/api.md", "docs/administration.md")
    rows = re.findall(r"^\| ([\d, ]+) \| ([\d, ]+) \|", tables, re.MULTILINE)
    numbers = re.compile(r"\d+")
    return {
        (int(status), int(code))
        for statuses, codes in rows
        for status, code in product(numbers.findall(statuses), numbers.findall(codes))
    }


def test_generated_documents_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/document.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run python scripts/document.py\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("variable", [setting.variable for setting in catalogue()])
def test_every_setting_is_in_the_readme(variable: str) -> None:
    assert f"`{variable}`" in text("README.md")


@pytest.mark.parametrize("path", PATHS)
def test_every_command_is_in_the_documents(path: str) -> None:
    assert f"## knownface {path}\n" in text("docs/cli.md")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_a_client_may_see_is_in_the_table(kind: type[KnownfaceError]) -> None:
    assert (kind.status, kind.code) in documented_codes()


def test_the_table_of_errors_lists_nothing_else() -> None:
    known = {(kind.status, kind.code) for kind in CLASSES}
    assert documented_codes() - known == set()


@pytest.mark.parametrize("name", sorted({n for s in catalogue() for n in s.also}))
def test_comprefaces_names_are_in_the_settings_table(name: str) -> None:
    assert f"`{name.lower()}`" in text("docs/configuration.md")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_documents_leads_somewhere(document: Path) -> None:
    links = re.findall(
        r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#[^)]*)?\)", document.read_text("utf-8")
    )
    missing = [link for link in links if link and not (document.parent / link).exists()]
    assert missing == []


def test_every_variable_in_the_documents_is_a_setting() -> None:
    known = {setting.variable for setting in catalogue()}
    examples = {"KNOWNFACE_PROT"}  # the one that is misspelt on purpose
    written = set(re.findall(r"\bKNOWNFACE_[A-Z_]*[A-Z]\b", "\n".join(map(_read, DOCUMENTS))))
    tests_own = {name for name in written if name.startswith(("KNOWNFACE_TEST", "KNOWNFACE_EVAL"))}
    assert written - known - examples - tests_own == set()


def _read(path: Path) -> str:
    return path.read_text("utf-8")
