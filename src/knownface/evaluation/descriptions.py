"""Writing what was measured into the `model.toml` of a model, and nothing else of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import MutableMapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from knownface.errors import ConfigurationError
from knownface.types import Calibration
from knownface.vision.catalog import Catalog, ModelSpec

DESCRIPTION: Final = "model.toml"
# What several models of one folder are listed under.
SEVERAL: Final = "model"
# What only shipped models have: where to fetch their weights.
SHIPPED_ONLY: Final = "carrier"

Rows = Sequence[tuple[float, float]]


def place_of(catalog: Catalog, spec: ModelSpec) -> Path:
    """Return the file that a calibration of this model is written to: a user's own, or a new one.

    A shipped model gets a folder of its own, which replaces it from the next start on.
    """
    beside = catalog.target(spec).with_name(DESCRIPTION)
    if beside.parent != catalog.models_dir and beside.is_file():
        return beside
    return catalog.models_dir / spec.name / DESCRIPTION


def write(
    catalog: Catalog, spec: ModelSpec, calibration: Calibration, fmr: Rows, origin: str
) -> Path:
    """Write a calibration and its table for the next start, and return where.

    A file that is there keeps everything else, comments included; a new one says by `origin` what
    it comes from. Nothing is left half written. Raises ConfigurationError when it cannot be done.
    """
    path = place_of(catalog, spec)
    try:
        if path.is_file():
            text = changed(path.read_text("utf-8"), spec.name, calibration, fmr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _provide(catalog, spec, path.with_name(spec.file))
            text = described(spec, calibration, fmr, origin)
        _replace(path, text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Cannot write {path}: {error}.") from error
    return path


def changed(text: str, name: str, calibration: Calibration, fmr: Rows) -> str:
    """Return the text of a `model.toml` with another calibration of the model of that name."""
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigurationError(f"{DESCRIPTION}: not valid TOML: {error}") from error
    several: Any = document.get(SEVERAL, [document])
    for table in several:
        if table.get("name", document.get("name")) == name:
            _set(table, calibration, fmr)
            return tomlkit.dumps(document)
    raise ConfigurationError(f"{DESCRIPTION} does not describe {name}.")


def described(spec: ModelSpec, calibration: Calibration, fmr: Rows, origin: str) -> str:
    """Return the text of a `model.toml` that replaces a shipped model by a calibrated one."""
    document = tomlkit.document()
    for line in (
        f"{spec.name} as it is shipped, but for calibration and fmr: {origin}.",
        "Remove this folder to have the shipped model back.",
    ):
        document.add(tomlkit.comment(line))
    document.add(tomlkit.nl())
    for field in fields(spec):
        value = getattr(spec, field.name)
        if field.name == SHIPPED_ONLY or value == field.default:
            continue
        if field.name not in ("calibration", "fmr"):
            document.add(field.name, _item(value))
    _set(document, calibration, fmr)
    return tomlkit.dumps(document)


def _set(table: MutableMapping[str, Any], calibration: Calibration, fmr: Rows) -> None:
    old = table.get("calibration")
    if old is None:
        old = tomlkit.inline_table()
        table["calibration"] = old
    old["c0"], old["c1"] = calibration.c0, calibration.c1
    if not fmr:  # what was measured with other similarities is true no more
        table.pop("fmr", None)
        return
    rows = tomlkit.array().multiline(True)
    for row in fmr:
        rows.append(_item(row))
    table["fmr"] = rows


def _item(value: object) -> Any:
    if isinstance(value, tuple):
        array = tomlkit.array()
        for one in value:
            array.append(_item(one))
        return array
    return tomlkit.item(value)


def _provide(catalog: Catalog, spec: ModelSpec, target: Path) -> None:
    """Put the weights beside the description: the same file under two names where that can be."""
    source = catalog.path(spec)
    if source is None:
        raise ConfigurationError(f"Model {spec.name} is not installed.")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            os.link(source, part)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    """Write a file whose name never shows less than all of it."""
    path = path.resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
