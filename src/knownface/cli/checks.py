"""`knownface doctor` and `knownface migrate`: is all of this sound, and is the database current?"""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from knownface import __version__
from knownface.cli import output
from knownface.cli.run import Failure, with_settings
from knownface.errors import KnownfaceError
from knownface.settings import DOTENV, Settings, catalogue

if TYPE_CHECKING:
    from knownface.vision.catalog import Catalog, Found, ModelSpec

LEAST_FREE: Final = 500 << 20
SECONDS_TO_ANSWER: Final = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; only what is wrong has `advice`, the thing to do about it."""

    what: str
    found: str
    advice: str = ""


@click.command(short_help="Bring the database to this version.")
@with_settings("data", "database_url")
def migrate(settings: Settings) -> None:
    """Bring the database to the layout of this version; every start does so by itself.

    Useful before a rolling update of several servers on one PostgreSQL database.
    """
    from knownface.app import open_store

    store = open_store(settings)
    try:
        click.echo(f"{store.url_without_password} is up to date.")
    finally:
        store.close()


@click.command(short_help="Say what is wrong here, and what to do.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@with_settings(
    "data",
    "database_url",
    "models_dir",
    "detector",
    "embedder",
    "age_model",
    "gender_model",
    "mask_model",
    "landmarks2d106_model",
    "threads",
)
def doctor(settings: Settings, as_json: bool) -> None:
    """Look at the environment, the settings, the data folder, the models and the database.

    Changes nothing. Exit code 1 when something is wrong, and then says what to do about it.
    """
    findings = [
        finding
        for look in (_environment, _sources, _data, _models, _database, _embedders)
        for finding in look(settings)
    ]
    wrong = [finding for finding in findings if finding.advice]
    if as_json:
        output.json([asdict(finding) | {"ok": not finding.advice} for finding in findings])
    else:
        rows = [("wrong" if f.advice else "ok", f.what, f.found) for f in findings]
        output.table(("", "what", "found"), rows)
        for finding in wrong:
            click.echo(f"{finding.what}: {finding.advice}")
    if wrong:
        raise Failure(f"{len(wrong)} of {len(findings)} things are wrong.")


def _environment(_: Settings) -> Iterator[Finding]:
    from knownface.app import cores

    system = f"{platform.system()} {platform.machine()}, {cores()} cores"
    python = f"Python {platform.python_version()}"
    yield Finding("program", f"knownface {__version__}, {python}, {system}")
    yield Finding("inference runtime", ", ".join(_runtimes()))


def _runtimes() -> Iterator[str]:
    from knownface.vision.runtimes import openvino_installed

    if openvino_installed():
        yield f"openvino {version('openvino')}"
    yield f"onnxruntime {version('onnxruntime')}"


def _sources(settings: Settings) -> Iterator[Finding]:
    changed = [
        setting.variable
        for setting in catalogue()
        if setting.name in settings.model_fields_set and setting.name != "database_url"
    ]
    place = f"read from {DOTENV.absolute()}" if DOTENV.is_file() else f"no {DOTENV} file here"
    yield Finding("settings", f"{place}; set: {', '.join(changed) or 'none'}")


def _data(settings: Settings) -> Iterator[Finding]:
    data = settings.data.absolute()
    if not data.exists():
        yield Finding("data folder", f"{data} is not there yet: the first start makes it")
    elif not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        advice = f"Let this user read and write {data}, or choose another with --data."
        yield Finding("data folder", f"{data} cannot be written", advice)
    else:
        yield Finding("data folder", str(data))
    free = shutil.disk_usage(next(p for p in (data, *data.parents) if p.exists())).free
    advice = "" if free > LEAST_FREE else "Make room: photographs and models need space."
    yield Finding("free space", f"{free >> 20} MB", advice)


def _models(settings: Settings) -> Iterator[Finding]:
    from knownface.vision.catalog import Catalog

    try:
        catalog = Catalog.load(settings.models_dir)
        required = (
            catalog.pick(settings.detector, "detector"),
            catalog.pick(settings.embedder, "embedder"),
        )
        optional = attribute_models(settings, catalog, required[1])
    except KnownfaceError as error:
        yield Finding("models", "unknown", error.message)
        return
    for spec in required:
        found = catalog.find(spec)
        advice = "" if found.state == "installed" else _installation(spec)
        where = f" in {found.path}" if found.path else ""
        yield Finding(f"model {spec.name}", f"{found.state}{where}", advice)
        yield from _threads(spec, settings)
    for name, slugs in optional.items():
        yield _optional(catalog.find(catalog.spec(name)), ", ".join(slugs))


def _threads(spec: ModelSpec, settings: Settings) -> Iterator[Finding]:
    """Report how many threads a run takes while nothing else runs, where that is known."""
    from knownface.vision.threads import FILE, kept

    timing = kept(settings.data / FILE).get(spec.name)
    what = f"threads of {spec.name}"
    if settings.threads:
        yield Finding(what, f"{settings.threads} where nothing else runs, as set")
    elif timing:
        yield Finding(what, str(timing))


def _optional(found: Found, slugs: str) -> Finding:
    """Report a model without which only an attribute is missing; that alone is nothing wrong."""
    spec, where = found.spec, f" in {found.path}" if found.path else ""
    lacking = "" if found.state == "installed" else f": answers lack {slugs}"
    sound = found.state == "installed" or (found.state == "absent" and spec.carrier)
    advice = "" if sound else _installation(spec)
    return Finding(f"model {spec.name} ({slugs})", f"{found.state}{where}{lacking}", advice)


def attribute_models(
    settings: Settings, catalog: Catalog, embedder: ModelSpec
) -> dict[str, list[str]]:
    """Return the models of optional attributes, each once, with the plugins that it serves."""
    from knownface.vision.plugins import PluginContext, load_plugins

    plugins = load_plugins(PluginContext(catalog, embedder, settings.plugin_models))
    serves: dict[str, list[str]] = {}
    for slug, plugin in sorted(plugins.items()):
        for name in plugin.models:
            if name != embedder.name:
                serves.setdefault(name, []).append(slug)
    return serves


def _installation(spec: ModelSpec) -> str:
    return f"knownface models install {spec.pack or spec.name}"


def _database(settings: Settings) -> Iterator[Finding]:
    from knownface.store.engines import open_database

    path = settings.database_url.removeprefix("sqlite:///")
    if path != settings.database_url and not Path(path).exists():
        yield Finding("database", f"{path} is not there yet: the first start makes it")
        return
    if Path(path).exists() and Path(path).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        advice = f"Other users of this machine may read all faces: chmod 600 {path}"
        yield Finding("database", f"{path} is open to other users", advice)
        return
    try:
        with closing(open_database(settings.database_url, SECONDS_TO_ANSWER)) as database:
            database.ping()
            yield Finding("database", f"{database.url_without_password} answers")
    except KnownfaceError as error:
        yield Finding("database", "cannot be used", error.message)


def _embedders(settings: Settings) -> Iterator[Finding]:
    """Look at the models that services go by, once there are services."""
    from knownface.preflight import embedder_refusal
    from knownface.store import Store
    from knownface.vision.catalog import Catalog

    path = settings.database_url.removeprefix("sqlite:///")
    if path != settings.database_url and not Path(path).exists():
        return
    try:
        store = Store.look(settings.database_url, busy_timeout=SECONDS_TO_ANSWER)
        if store is None:  # of another version: a start brings it to this one
            return
        with closing(store):
            catalog = Catalog.load(settings.models_dir)
            usual = catalog.pick(settings.embedder, "embedder").name
            refusal = embedder_refusal(store, usual, settings)
            with store.snapshot() as tx:
                chosen = sorted(tx.embedders() - {usual})
    except KnownfaceError:
        return  # said already
    if refusal:
        yield Finding("services", "hold embeddings of another model", refusal)
    known = {spec.name: spec for spec in catalog.specs() if spec.task == "embedder"}
    for name in chosen:
        state = catalog.state(known[name]) if name in known else "unknown"
        advice = "" if state == "installed" else f"Install the model {name}: services go by it."
        yield Finding(f"embedder {name} of services", state, advice)
