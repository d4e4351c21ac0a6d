"""`knownface models`: the networks' weights on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knownface.cli import output
from knownface.cli.run import Failure, with_settings
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.vision.catalog import Catalog, Found
    from knownface.vision.packs import Pack, Received

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
    help="Take the files from this folder instead of fetching them.",
)
@click.option(
    "--accept-licence",
    is_flag=True,
    help="Accept the licence terms of the packs named, which are shown; without it you are asked.",
)
@with_settings(*FOLDERS, "offline")
def install(
    settings: Settings, names: tuple[str, ...], source: Path | None, accept_licence: bool
) -> None:
    """Fetch, verify and convert models; without NAME all of the usual ones.

    What is installed and sound already is left alone, what is damaged is replaced. NAME may be a
    pack of `knownface models list`: models of others, which are fetched only after their licence
    terms were shown and accepted.

    \b
    Examples:
      knownface models install
      knownface models install yunet sface --from /media/stick
      knownface models install buffalo_l
      knownface models install auraface --accept-licence --from ~/Downloads
    """
    from knownface.app import prepare_data
    from knownface.vision import install as installation
    from knownface.vision.catalog import Catalog, shipped_packs

    if settings.models_dir.absolute().is_relative_to(settings.data.absolute()):
        prepare_data(settings)
    catalog = Catalog.load(settings.models_dir)
    packs = [name for name in dict.fromkeys(names) if name in shipped_packs()]
    usual = [name for name in names if name not in packs]
    for name in usual:
        catalog.spec(name)  # nothing is installed when one of the names is wrong
    for name in packs:
        _install_pack(name, catalog, settings, source, accepted=accept_licence)
    if usual or not packs:
        with output.progress() as progress:
            found = installation.install(catalog, usual, source=source, progress=progress)
        _show(found)


@models.command(name="list")
@_as_json
@with_settings(*FOLDERS)
def list_(settings: Settings, as_json: bool) -> None:
    """List the models, their licences, and whether they are installed; and the packs there are."""
    from knownface.vision import packs
    from knownface.vision.catalog import shipped_packs

    found = _found(settings, ())
    there = {row.spec.pack for row in found}
    available = [packs.load(name) for name in shipped_packs() if name not in there]
    _show(found, available, as_json=as_json)


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_as_json
@with_settings(*FOLDERS)
def verify(settings: Settings, names: tuple[str, ...], as_json: bool) -> None:
    """Compare files with their SHA-256; exit code 1 when a model is absent or damaged."""
    found = _found(settings, names)
    _show(found, as_json=as_json)
    wrong = [row for row in found if row.state != "installed"]
    if wrong:
        said = ", ".join(f"{row.spec.name} is {row.state}" for row in wrong)
        packs = " ".join(dict.fromkeys(row.spec.pack for row in wrong if row.spec.pack))
        raise Failure(f"{said}. Run `knownface models install{packs and ' '}{packs}`.")


def _install_pack(
    name: str, catalog: Catalog, settings: Settings, source: Path | None, *, accepted: bool
) -> None:
    """Install a pack, unless it is there already, once its terms are accepted."""
    from knownface.vision import packs

    pack = packs.load(name)
    if packs.installed(pack, catalog):
        click.echo(f"{name} is installed already.")
        return
    if source is None and settings.offline:
        raise Failure(
            f"KNOWNFACE_OFFLINE is set, so {name} is not fetched: use --from FOLDER, "
            "or --no-offline."
        )
    _accept(pack, accepted=accepted)
    with output.progress() as progress:
        received = packs.install_pack(pack, settings.models_dir, source=source, progress=progress)
    _tell(pack, received)


def _accept(pack: Pack, *, accepted: bool) -> None:
    """Show the licence terms of a pack; Failure unless they are accepted."""
    click.echo(f"{pack.title}\nLicence: {pack.licence}\nFrom: {pack.source}\n", err=True)
    click.echo(pack.terms, err=True)
    if accepted:
        return
    try:
        agreed = click.confirm("Do you accept these terms?", err=True)
    except click.Abort:  # there is nobody to ask
        click.echo(err=True)
        agreed = False
    if not agreed:
        raise Failure(
            f"Nothing was installed: {pack.name} needs its licence terms to be accepted, here or "
            "with --accept-licence."
        )


def _tell(pack: Pack, received: Sequence[Received]) -> None:
    """Show what came, with the hashes, and which settings use it."""
    columns = ("name", "task", "SHA-256", "which is")
    output.table(columns, ((r.spec.name, r.spec.task, r.sha256, r.note) for r in received))
    there = {row.spec.name for row in received}
    lacking = [one.spec for one in pack.members if one.spec.name not in there]
    if lacking:
        files = ", ".join(f"{spec.name} ({spec.file})" for spec in lacking)
        click.echo(f"Left out, for their files are not there: {files}")
    uses = {
        "detector": ("DETECTOR",),
        "embedder": ("EMBEDDER",),
        "genderage": ("AGE_MODEL", "GENDER_MODEL"),
        "2d106det": ("LANDMARKS2D106_MODEL",),
    }
    variables = [
        f"KNOWNFACE_{use}={pack.name}"
        for row in received
        for use in uses.get(row.spec.task) or uses.get(row.spec.family, ())
    ]
    click.echo(f"To use it, set what you want of: {' '.join(variables)}")


def _found(settings: Settings, names: Sequence[str]) -> list[Found]:
    """Look at the files of these models; the name of a pack stands for all of its models."""
    from knownface.vision import install as installation
    from knownface.vision.catalog import Catalog, shipped_packs

    catalog = Catalog.load(settings.models_dir)
    wanted: list[str] = []
    for name in names:
        inside = [spec.name for spec in catalog.specs() if spec.pack == name]
        if not inside and name in shipped_packs():
            raise Failure(f"{name} is absent. Run `knownface models install {name}`.")
        wanted += inside or [name]
    return installation.verify(catalog, wanted)


def _show(found: Sequence[Found], available: Sequence[Pack] = (), *, as_json: bool = False) -> None:
    rows: list[dict[str, str | None]] = [
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
    rows += [
        {
            "name": pack.name,
            "task": "pack",
            "version": pack.title,
            "state": "available",
            "licence": pack.licence,
            "file": None,
            "source": pack.source,
        }
        for pack in available
    ]
    if as_json:
        output.json(rows)
    else:
        columns = ("name", "task", "state", "licence", "file")
        output.table(columns, ([row[name] or "-" for name in columns] for row in rows))
