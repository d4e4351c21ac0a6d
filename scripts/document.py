"""Write the parts of the documents that follow from the program: its settings and commands.

    python scripts/document.py [--check]

Each part stands between two comments of its document. With --check nothing is written, and exit
code 1 says that a document is out of date.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from knownface.cli import main as cli
from knownface.settings import catalogue

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 90


def settings() -> str:
    """Return a table of every setting: its names, its default and what it is for."""
    rows = ["| Variable | Flag | Default | What it is |", "|---|---|---|---|"]
    for one in catalogue():
        names = ", ".join(f"`{name}`" for name in (one.variable, *(n.lower() for n in one.also)))
        flag = f"{one.flag}`, `--no-{one.flag.removeprefix('--')}" if one.boolean else one.flag
        values = f" One of {one.values}." if one.values else ""
        rows.append(f"| {names} | `{flag}` | `{one.default}` | {one.description}{values} |")
    return "\n".join(rows)


def commands() -> str:
    """Return the help text of every command."""
    parts = [
        f"## {' '.join(path)}\n\n```text\n{text}\n```"
        for path, text in _helps(cli, ("knownface",), None)
    ]
    return "\n\n".join(parts)


def figures() -> str:
    """Return the table that the last `make bench` wrote."""
    return (ROOT / "bench" / "results.md").read_text("utf-8").rstrip()


PARTS: Mapping[str, Callable[[], str]] = {
    "README.md": settings,
    "docs/configuration.md": settings,
    "docs/cli.md": commands,
    "docs/performance.md": figures,
}


def _helps(
    command: click.Command, path: tuple[str, ...], parent: click.Context | None
) -> Iterator[tuple[tuple[str, ...], str]]:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent, path[-1], **settings)
    lines = command.get_help(context).splitlines()
    yield path, "\n".join(line.rstrip() for line in lines).rstrip()
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found:
                yield from _helps(found, (*path, name), context)


def rendered(text: str, part: str) -> str:
    """Return a document with its generated part, if it has one, replaced."""
    between = re.compile(r"(<!-- generated -->\n).*?(<!-- end -->)", re.DOTALL)
    return between.sub(lambda found: f"{found[1]}\n{part}\n\n{found[2]}", text)


def main(check: bool) -> int:
    """Bring every document up to date, or with `check` say which is not."""
    stale = 0
    for name, part in PARTS.items():
        path = ROOT / name
        old = path.read_text("utf-8")
        new = rendered(old, part())
        if new == old:
            continue
        stale = 1
        if check:
            print(*difflib.unified_diff(old.splitlines(), new.splitlines(), name, name), sep="\n")
        else:
            path.write_text(new, "utf-8")
            print(f"wrote {name}")
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
