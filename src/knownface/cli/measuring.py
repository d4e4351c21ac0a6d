"""What all commands of `knownface evaluate` share: their options, and how figures are told."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from knownface.cli import output
from knownface.cli.judges import open_judge
from knownface.cli.run import Failure, with_settings
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.evaluation.judging import Judge
    from knownface.evaluation.results import Evaluation, Problem
    from knownface.vision.catalog import Catalog

SETTINGS: Final = (
    "data",
    "models_dir",
    "detector",
    "embedder",
    "age_model",
    "gender_model",
    "mask_model",
    "max_detect_size",
    "det_prob_threshold",
    "runtime",
    "offline",
)
# More problems than anybody reads; all of them are in the JSON.
SHOWN: Final = 50
STANDARD_OUTPUT: Final = "-"

Command = Callable[..., None]

labels_file = click.argument(
    "labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="LABELS.csv"
)
pairs_file = click.argument(
    "pairs", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PAIRS.csv"
)
images_folder = click.option(
    "--images",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that the file names are relative to [default: the folder `images` beside the CSV "
    "file, else the folder of the CSV file].",
)
_json = click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="Write every figure as JSON; - prints it instead of the tables.",
)
_report = click.option(
    "--report",
    metavar="FILE.html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with charts and the worst mistakes, all in one file.",
)


def padding_for(reason: str) -> Callable[[Command], Command]:
    return click.option(
        "--padding",
        metavar="SHARE",
        default=0.0,
        show_default=True,
        type=click.FloatRange(0, 2),
        help=f"Put black around every picture first, so much of its sides on each; {reason}",
    )


tight = padding_for("for crops that end at the face. The server itself never does that.")


def measured(command: Command) -> Command:
    """Give a command the options that all measurements share."""
    return _json(_report(with_settings(*SETTINGS)(command)))


@contextmanager
def opened_judge(
    settings: Settings, *files: Path | None, plugins: Sequence[str] = ()
) -> Iterator[tuple[Judge, Catalog]]:
    """Open what pictures are seen through, after a look at where the answers shall go."""
    for file in files:
        if file is not None and str(file) != STANDARD_OUTPUT:
            _refuse_unwritable(file)
    with output.measuring() as progress, open_judge(settings, progress, plugins) as opened:
        yield opened


def _refuse_unwritable(file: Path) -> None:
    """Find out before all the work, not after it; nothing that is there is touched."""
    if not file.parent.is_dir():
        raise click.UsageError(f"Cannot write {file}: there is no folder {file.parent}.")
    there = file.exists()
    try:
        file.open("ab").close()
    except OSError as error:
        raise click.UsageError(f"Cannot write {file}: {error.strerror}.") from None
    if not there:
        file.unlink()


def folder_of(labels: Path, images: Path | None) -> Path:
    from knownface.evaluation.people import images_beside

    return images or images_beside(labels)


def tell(
    found: Evaluation, title: str, json_file: Path | None, report: Path | None, **more: object
) -> None:
    """Print the tables and the problems, and write the files that were asked for."""
    document = {
        "kind": found.kind,
        **found.figures,
        **more,
        "problems": [{"file": p.file, "line": p.line, "reason": p.reason} for p in found.problems],
    }
    printed = json_file is not None and str(json_file) == STANDARD_OUTPUT
    if printed:
        output.json(document)
    else:
        for table in found.tables:
            click.echo(f"\n{table.title}")
            output.table(table.columns, table.rows)
    _complain(found.problems)
    if json_file and not printed:
        _write(json_file, output.json_text(document) + "\n")
    if report:
        from knownface.evaluation.report import html

        command = shlex.join(["knownface", *sys.argv[1:]])
        _write(report, html(found, title=title, made=datetime.now(UTC), command=command))


def _complain(problems: Sequence[Problem]) -> None:
    for problem in problems[:SHOWN]:
        click.echo(f"Left out: {problem}", err=True)
    if len(problems) > SHOWN:
        click.echo(f"Left out: {len(problems) - SHOWN} more; --json lists all of them.", err=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise Failure(f"Cannot write {path}: {error.strerror}") from None
    click.echo(f"Wrote {path}", err=True)
