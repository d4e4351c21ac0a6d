"""What commands print: tables for people, JSON for programs, bars while something takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, TaskID

Progress = Callable[[str, int, int], None]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings; columns are as wide as they need to be, whatever the screen."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for column in shown.columns:
        column.no_wrap = True
    for row in rows:
        shown.add_row(*(_plain(cell) for cell in row))
    # A key that is cut to fit the screen is useless; the screen may wrap it instead.
    console = Console(file=sys.stdout, width=10_000 if not sys.stdout.isatty() else None)
    console.print(shown, soft_wrap=True)


def json(value: object) -> None:
    """Print a value as indented JSON, arrays of numbers included."""
    click.echo(json_text(value))


def json_text(value: object) -> str:
    """Return a value as indented JSON, arrays of numbers included."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(value, option=options).decode()


@contextmanager
def progress() -> Iterator[Progress]:
    """Show how an installation goes on standard error: a bar on a screen, else a line a stage."""
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def line(stage: str, *_: int) -> None:
            if stage not in seen:
                seen.add(stage)
                click.echo(f"{stage} …", err=True)

        yield line
        return

    from rich.progress import BarColumn, DownloadColumn, TextColumn

    with _bars(TextColumn("{task.description}"), BarColumn(), DownloadColumn()) as bar:
        yield bar


@contextmanager
def measuring() -> Iterator[Progress]:
    """Show on standard error how a measurement goes: how many, how fast, how long it will take."""
    if not sys.stderr.isatty():
        with progress() as line:
            yield line
        return

    from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.1f}/s" if speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        TimeRemainingColumn(),
    )
    with _bars(*columns) as bar:
        yield bar


@contextmanager
def _bars(*columns: ProgressColumn) -> Iterator[Progress]:
    """Show a bar a stage on a screen, below each other."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def bar(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total or None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield bar


@contextmanager
def counting(
    what: str, total: int | None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """Show on standard error how many of `total` are done, how fast, and how long it will take.

    On a screen that is a bar, elsewhere a line now and then.
    """
    if not sys.stderr.isatty():
        yield _Lines(what, total, clock)
        return
    with measuring() as bar:
        yield lambda done: bar(what, done, total or 0)


class _Lines:
    """Says every few seconds how far something is."""

    _SECONDS = 10.0

    def __init__(self, what: str, total: int | None, clock: Callable[[], float]) -> None:
        self._what = what
        self._total = total
        self._clock = clock
        self._started = self._said = clock()

    def __call__(self, done: int) -> None:
        now = self._clock()
        if now - self._said < self._SECONDS:
            return
        self._said = now
        rate = done / (now - self._started)
        of, left = "", ""
        if self._total is not None:
            of = f" of {self._total}"
            left = f", {(self._total - done) / rate:.0f} s left" if rate else ""
        click.echo(f"{self._what}: {done}{of}, {rate:.1f}/s{left}", err=True)


def _plain(cell: object) -> str:
    from rich.markup import escape

    return escape(str(cell))
