"""Packs that can be installed: models of others, under their licences, fetched only when these
have been accepted.

A pack's definition (`packs/NAME.toml`) says where its files come from and what is known of them.
Installing writes a folder like a user's own: the files, a `model.toml` that records the SHA-256 of
what came, and the terms that were accepted.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from knownface.errors import ConfigurationError
from knownface.vision import convert
from knownface.vision.catalog import (
    DESCRIPTION,
    PACKS,
    Catalog,
    ModelSpec,
    parsed,
    read_description,
    sha256_of,
    tables,
    validated,
)
from knownface.vision.fetch import SECURE, Fetcher
from knownface.vision.install import Progress, exclusive, put, silent
from knownface.vision.pack_sources import Brought, Download, Downloaded, Missing, Original, Place
from knownface.vision.session import Network

TERMS: Final = "LICENCE.txt"

# What a definition says of the whole pack; anything else holds for each of its models.
_ABOUT: Final = ("title", "commercial", "terms", "download")


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a pack: `table` is what its model.toml will say."""

    spec: ModelSpec
    table: Mapping[str, object]
    original: Original


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack as its definition describes it."""

    name: str
    title: str
    licence: str
    commercial: bool
    source: str
    terms: str
    downloads: tuple[Download, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """What an installation got for one model: `published` is the SHA-256 that was known before.

    `vouched` says that it came out of a download whose own SHA-256 was known, `kept` that it was
    there before.
    """

    spec: ModelSpec
    sha256: str
    published: str | None
    vouched: bool = False
    kept: bool = False

    @property
    def note(self) -> str:
        """What a person should know of this file's hash."""
        if self.kept:
            return "there already"
        if self.published is None and self.vouched:
            return "out of the published archive"
        if self.published is None:
            return "no published SHA-256 is known: recorded as it came"
        if self.published == self.sha256:
            return "the published file"
        return "NOT the published file: recorded as it came"


def load(name: str) -> Pack:
    """Return the shipped definition of that name, which has to be one of `shipped_packs`."""
    file = resources.files(__package__).joinpath(PACKS, f"{name}.toml")
    return read(file.read_text("utf-8"), name)


def read(text: str, name: str) -> Pack:
    """Return the pack that a text defines; ConfigurationError names the key that is wrong."""
    origin = f"{PACKS}/{name}.toml"
    table = parsed(text, origin)
    about = {key: table.pop(key) for key in _ABOUT if key in table}
    shared = {key: str(table[key]) for key in ("licence", "source")}
    members = tuple(_member(one, place, name) for place, one in tables(table, origin))
    try:
        return _PACK.validate_python(
            {
                **shared,
                "name": name,
                "title": about["title"],
                "commercial": about["commercial"],
                "terms": about["terms"],
                "downloads": about["download"],
                "members": members,
            }
        )
    except (KeyError, ValidationError) as error:
        raise ConfigurationError(f"{origin}: {' '.join(str(error).split())}") from error


def _member(table: dict[str, object], origin: str, pack: str) -> Member:
    original = _ORIGINAL.validate_python(table.pop("original", {}))
    table = {**table, "pack": pack}
    return Member(validated(table, origin), table, original)


def installed(pack: Pack, catalog: Catalog) -> bool:
    """Tell whether every model of a pack is there and sound."""
    known = {spec.name: spec for spec in catalog.specs() if spec.pack == pack.name}
    return all(
        member.spec.name in known and catalog.state(known[member.spec.name]) == "installed"
        for member in pack.members
    )


def install_pack(
    pack: Pack,
    models_dir: Path,
    *,
    source: Path | None = None,
    progress: Progress = silent,
    schemes: Collection[str] = SECURE,
) -> list[Received]:
    """Install a pack whose terms the caller has shown and had accepted; one row for each model.

    `source` is a folder that holds the files, or some of them, or the archive; without it they are
    downloaded. What is downloaded has to have the published SHA-256 where one is known; what
    somebody brings may be another file, which the row tells. Raises ModelUnavailable when a file
    cannot be had or used, ConfigurationError when a folder cannot be used. Nothing is changed then.
    """
    folder = models_dir / pack.name
    with exclusive(models_dir, progress):
        _refuse_strange(folder, pack)
        staging = models_dir / f".{pack.name}.new"
        shutil.rmtree(staging, ignore_errors=True)  # of a process that died, for the lock is ours
        staging.mkdir()
        try:
            place: Place = (
                Brought(source, pack.name, pack.downloads)
                if source
                else Downloaded(
                    Fetcher(models_dir, schemes=schemes), pack.name, pack.downloads, progress
                )
            )
            received = _receive_all(pack, place, staging, folder, progress)
            _describe(pack, received, staging, _measured(folder))
            _publish(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        place.forget()
    return received


def _receive_all(
    pack: Pack, place: Place, staging: Path, folder: Path, progress: Progress
) -> list[Received]:
    """Bring every model that the place has, and keep what was there of the others."""
    received, missing = [], []
    for member in pack.members:
        try:
            received.append(_receive(member, place, staging, progress))
        except Missing as error:
            missing.append(error)
            (staging / member.spec.file).unlink()
    if not received:
        raise missing[0]
    new = {row.spec.name for row in received}
    present = _specs(folder)
    kept = [member for member in pack.members if member.spec.name in present.keys() - new]
    for member in kept:
        there, path = present[member.spec.name], folder / member.spec.file
        if path.is_file() and sha256_of(path) == there.sha256:
            shutil.copyfile(path, staging / path.name)
            received.append(Received(member.spec, there.sha256, None, kept=True))
    return received


def _refuse_strange(folder: Path, pack: Pack) -> None:
    """Raise ConfigurationError where the folder belongs to somebody who wrote it by hand."""
    if any(spec.pack != pack.name for spec in _specs(folder).values()):
        raise ConfigurationError(
            f"{folder / DESCRIPTION} is not from an installation of {pack.name}: "
            "move the folder away first."
        )


def _receive(member: Member, place: Place, staging: Path, progress: Progress) -> Received:
    """Bring one model into the folder, convert it, and see that it can be loaded."""
    spec, original = member.spec, member.original
    target = staging / spec.file
    with target.open("wb") as stream:
        sha256 = place.copy(spec.file, original, stream)
        stream.flush()
        os.fsync(stream.fileno())
    if original.conversion == "any-size":
        put(target, convert.any_size(target.read_bytes(), spec.name))
    stage = f"try {spec.name}"
    progress(stage, 0, 1)
    Network(spec, target).try_once()
    progress(stage, 1, 1)
    return Received(spec, sha256, original.sha256, place.vouches(spec.file))


def _measured(folder: Path) -> dict[str | None, dict[str, object]]:
    """Return what somebody measured with the files that are there, by their SHA-256."""
    return {
        spec.sha256: {
            "calibration": {"c0": spec.calibration.c0, "c1": spec.calibration.c1},
            "fmr": [list(row) for row in spec.fmr],
        }
        for spec in _specs(folder).values()
        if spec.calibration
    }


def _specs(folder: Path) -> dict[str, ModelSpec]:
    """Return what the description in a folder says of its models, by name."""
    description = folder / DESCRIPTION
    specs = read_description(description) if description.exists() else []
    return {spec.name: spec for spec in specs}


def _describe(
    pack: Pack,
    received: list[Received],
    staging: Path,
    measured: Mapping[str | None, dict[str, object]],
) -> None:
    """Write the model.toml, and beside it the terms; what was measured with a file is kept."""
    lines = [
        f"# {pack.title}",
        f"# Installed by `knownface models install {pack.name}`; the terms in {TERMS} were "
        f"accepted on {date.today().isoformat()}.",
    ]
    tables_of = {member.spec.name: member.table for member in pack.members}
    for row in received:
        path = staging / row.spec.file
        sha256 = sha256_of(path)
        known_of_it = {"sha256": sha256, "bytes": path.stat().st_size, **measured.get(sha256, {})}
        known = f"# Published: SHA-256 {row.published or 'unknown'}."
        lines += ["", f"# Received: SHA-256 {row.sha256}, {row.note}.", known, "[[model]]"]
        lines += [
            f"{key} = {_toml(value)}"
            for key, value in {**tables_of[row.spec.name], **known_of_it}.items()
        ]
    put(staging / TERMS, f"{pack.title}\n{pack.licence}\n{pack.source}\n\n{pack.terms}".encode())
    put(staging / DESCRIPTION, ("\n".join(lines) + "\n").encode())


def _publish(staging: Path, folder: Path) -> None:
    """Move the files into their folder, the description last: until then they are no models."""
    folder.mkdir(exist_ok=True)
    files = sorted(staging.iterdir(), key=lambda path: path.name == DESCRIPTION)
    for path in files:
        path.replace(folder / path.name)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # of texts, numbers and truth both write the same


_PACK: Final = TypeAdapter(Pack)
_ORIGINAL: Final = TypeAdapter(Original)
