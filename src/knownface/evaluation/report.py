"""An evaluation as one HTML file that needs nothing else: no script, no network, no other file."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from typing import Final

from knownface import __version__
from knownface.evaluation.axes import number
from knownface.evaluation.charts import draw
from knownface.evaluation.results import Evaluation, Mistake, Problem, Table

# A page that lists more of them than anybody reads only becomes slow.
MOST_PROBLEMS: Final = 500
# Should anything on the page ever try to reach for more, the browser refuses it.
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# Figures that say where the others come from.
_ORIGIN: Final = ("data", "versions")
_NUMBER: Final = re.compile(r"[-−+±]?\d|–$")


def html(evaluation: Evaluation, *, title: str, made: datetime, command: str = "") -> str:
    """Return the page; whatever comes from labels or names of files is shown, never obeyed."""
    style = resources.files("knownface.evaluation").joinpath("report.css").read_text("utf-8")
    sections = [
        _headline(evaluation.tables[:1]),
        _section("Charts", _charts(evaluation)),
        _section("Figures in detail", "".join(_table(table) for table in evaluation.tables[1:])),
        _section("The worst mistakes", _mistakes(evaluation.mistakes)),
        _section("Left out", _problems(evaluation.problems)),
        _section("How this was made", _making(evaluation, made, command)),
        _section("All figures", _figures(evaluation)),
    ]
    kind = escape(evaluation.kind.replace("_", " ").replace("-", " ").capitalize())
    when = f'<time datetime="{made.isoformat(timespec="seconds")}">{_date(made)}</time>'
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><p>{kind}</p><h1>{escape(title)}</h1><p>{when}</p></header>\n"
        f"<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )
    # A file's name need not be text; a report has to be.
    return page.encode("utf-8", "replace").decode("utf-8")


def _section(heading: str, body: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{body}\n</section>\n" if body else ""


def _headline(tables: Sequence[Table]) -> str:
    """Show what people look for first large; a table of more than names and values as one."""
    if not tables:
        return ""
    table = tables[0]
    if len(table.columns) not in (2, 3):
        return f"<section>\n{_table(table)}\n</section>\n"
    tiles = "".join(
        f"<div><dt>{escape(_words(name))}</dt><dd>{escape(_words(value))}</dd>"
        + "".join(f"<dd>{escape(_words(note))}</dd>" for note in notes if note != "")
        + "</div>"
        for name, value, *notes in table.rows
    )
    return _section(escape(table.title), f'<dl class="tiles">{tiles}</dl>')


def _charts(evaluation: Evaluation) -> str:
    drawn = "\n".join(draw(chart, k) for k, chart in enumerate(evaluation.charts, start=1))
    return drawn and f'<div class="charts">\n{drawn}\n</div>'


def _table(table: Table) -> str:
    numeric = [
        all(_NUMBER.match(_words(row[k])) for row in table.rows) for k in range(len(table.columns))
    ]
    kinds = [' class="number"' if is_number else "" for is_number in numeric]
    heads = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for name, kind in zip(table.columns, ["", *kinds[1:]], strict=True)
    )
    rows = []
    for first, *others in table.rows:
        cells = "".join(
            f"<td{kind}>{escape(_words(cell))}</td>"
            for cell, kind in zip(others, kinds[1:], strict=True)
        )
        rows.append(f'<tr><th scope="row">{escape(_words(first))}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{escape(table.title)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>\n{chr(10).join(rows)}\n</tbody></table></div>\n"
    )


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    shown = []
    for mistake in mistakes:
        pictures = [picture for picture in mistake.pictures if picture]
        caption = escape(mistake.caption)
        drawn = "".join(
            f'<img src="data:image/jpeg;base64,{b64encode(picture).decode()}"'
            f' alt="picture {k} of {len(pictures)}">'
            for k, picture in enumerate(pictures, start=1)
        )
        shown.append(f"<li><figure>{drawn}<figcaption>{caption}</figcaption></figure></li>")
    return f'<ul class="mistakes">{"".join(shown)}</ul>' if shown else ""


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    rows = tuple((p.file, p.line or "–", p.reason) for p in problems[:MOST_PROBLEMS])
    title = f"{len(problems):,} rows or pictures were left out"
    if len(problems) > MOST_PROBLEMS:
        title += f", of which these are the first {MOST_PROBLEMS}"
    return _table(Table(title, ("file", "line", "reason"), rows))


def _making(evaluation: Evaluation, made: datetime, command: str) -> str:
    """Say what it takes to do it again: the program, the models, the data, the command."""
    facts: list[tuple[str, object]] = [
        ("program", f"Knownface {__version__}"),
        ("made", made.isoformat(timespec="seconds")),
    ]
    facts += [(name, value) for name, value in flat(evaluation.figures) if _tells_how(name, value)]
    if command:
        facts.append(("command", command))
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(_words(value))}</dd></div>"
        for name, value in facts
    )
    return f'<dl class="facts">{items}</dl>'


def _figures(evaluation: Evaluation) -> str:
    figures = tuple((n, v) for n, v in flat(evaluation.figures) if not _tells_how(n, v))
    table = Table("As the command writes them with --json", ("key", "value"), figures)
    return f'<div class="keys">{_table(table)}</div>' if figures else ""


def _tells_how(name: str, value: object) -> bool:
    top = re.split(r"[.\[]", name)[0]
    return top in _ORIGIN or (top == name and isinstance(value, str))


def flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield each single value of nested figures under the path that leads to it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for place, inner in enumerate(value):
            yield from flat(inner, f"{name}[{place}]")
    else:
        yield name, value


def _words(value: object) -> str:
    """Return a value as it stands in tables."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    return str(value)


def _date(made: datetime) -> str:
    return f"{made.day} {made:%B %Y, %H:%M %Z}".strip()
