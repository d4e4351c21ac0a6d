"""`knownface status`: what the page shows of the system, without a running server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from knownface import __version__
from knownface.cli import output
from knownface.cli.checks import SECONDS_TO_ANSWER, attribute_models
from knownface.cli.run import with_settings
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.store import Store

_MODELS: Final = ("name", "task", "version", "state", "required")
_SERVICES: Final = ("application", "service", "type", "subjects", "examples", "model")


@click.command(short_help="Tell of version, database, disk, services and models.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@with_settings(
    *("data", "database_url", "models_dir", "detector", "embedder"),
    *("age_model", "gender_model", "mask_model", "landmarks2d106_model"),
)
def status(settings: Settings, as_json: bool) -> None:
    """Tell what is in the data folder: version, machine, database, disk, services and models.

    Changes nothing and loads no model. What is in the memory of a running server is told by its
    page; what is wrong and what to do about it, by `knownface doctor`.
    """
    from knownface.app import cores
    from knownface.status import machine, told

    database, services = _database(settings)
    data = settings.data.absolute()
    there = next(path for path in (data, *data.parents) if path.exists())
    document: dict[str, object] = {
        "version": __version__,
        "machine": asdict(machine(cores())),
        "data": str(data),
        "database": database,
        "disk": {"free_bytes": told(lambda: shutil.disk_usage(there).free)},
    }
    chosen = {str(one["embedder"]) for one in services if one["embedder"]}
    models = list(_models(settings, chosen))
    if as_json:
        output.json({**document, "services": services, "models": models})
        return
    output.table(("", ""), list(_flat(document)))
    for columns, rows in ((_SERVICES, services), (_MODELS, models)):
        output.table(columns, [[_word(row[name]) for name in columns] for row in rows])


def _database(settings: Settings) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Return what there is to know of the database, and its services with their faces."""
    from knownface.status import told
    from knownface.store import Store

    path = settings.database_url.removeprefix("sqlite:///")
    kind = "postgresql" if path == settings.database_url else "sqlite"
    if kind == "sqlite" and not Path(path).exists():
        return {"kind": kind, "bytes": None, "state": "absent"}, []
    store = Store.look(settings.database_url, busy_timeout=SECONDS_TO_ANSWER)
    if store is None:  # the next start or `knownface migrate` changes that
        return {"kind": kind, "bytes": None, "state": "of another version"}, []
    with closing(store):
        size = told(store.size)
        return {"kind": store.kind, "bytes": size, "state": "current"}, list(_services(store))


def _services(store: Store) -> Iterator[dict[str, object]]:
    with store.snapshot() as tx:
        infos = [tx.service_info(one.id) for one in tx.services()]
    for info in infos:
        if info is not None:
            yield {
                "application": info.service.application,
                "service": info.name,
                "type": info.type.value,
                "subjects": info.subjects,
                "examples": info.examples,
                "model": info.model,
                "embedder": info.service.embedder,
            }


def _models(settings: Settings, chosen: set[str]) -> Iterator[dict[str, object]]:
    """Return each model that a server with these settings uses, once, and what the disk holds."""
    from knownface.vision.catalog import Catalog

    catalog = Catalog.load(settings.models_dir)
    embedder = catalog.pick(settings.embedder, "embedder")
    required = (catalog.pick(settings.detector, "detector").name, embedder.name, *sorted(chosen))
    known = {spec.name: spec for spec in catalog.specs()}
    for name in dict.fromkeys((*required, *attribute_models(settings, catalog, embedder))):
        found = catalog.find(known[name]) if name in known else None
        yield {
            "name": name,
            "task": found.spec.task if found else "embedder",
            "version": found.spec.version if found else None,
            "state": found.state if found else "unknown",
            "required": name in required,
            "file": str(found.path) if found and found.path else None,
        }


def _flat(document: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        title = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{title} ")
        else:
            yield title, _word(value)


def _word(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else value
