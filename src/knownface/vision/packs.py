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
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar, Final, Literal, Protocol

from pydantic import ConfigDict, TypeAdapter, ValidationError

from knownface.errors import ConfigurationError, ModelUnavailable
from knownface.vision import convert
from knownface.vision.catalog import (
    DESCRIPTION,
    PACKS,
    Catalog,
    ModelSpec,
    Positive,
    Sha256,
    parsed,
    read_description,
    sha256_of,
    tables,
    validated,
)
from knownface.vision.fetch import LARGEST, SECURE, Fetcher, copy_within
from knownface.vision.install import Progress, exclusive, put, silent
from knownface.vision.session import Network

TERMS: Final = "LICENCE.txt"

# What a definition says of the whole pack; anything else holds for each of its models.
_ABOUT: Final = ("title", "commercial", "terms", "download")


@dataclass(frozen=True, slots=True)
class Download:
    """One file at an address: a model, or an archive of several."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    url: str
    sha256: Sha256 | None = None
    bytes: Positive | None = None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Original:
    """What is known of a model's published file, and what becomes of it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    sha256: Sha256 | None = None
    bytes: Positive | None = None
    conversion: Literal["copy", "any-size"] = "copy"


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

    `vouched` says that it came out of a download whose own SHA-256 was known.
    """

    spec: ModelSpec
    sha256: str
    published: str | None
    vouched: bool = False

    @property
    def note(self) -> str:
        """What a person should know of this file's hash."""
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

    `source` is a folder that holds the files or the archive; without it they are downloaded. What
    is downloaded has to have the published SHA-256 where one is known; what somebody brings may be
    another file, which the row tells. Raises ModelUnavailable when a file cannot be had or used,
    ConfigurationError when a folder cannot be used. Nothing is changed then.
    """
    folder = models_dir / pack.name
    with exclusive(models_dir, progress):
        _refuse_strange(folder, pack)
        staging = models_dir / f".{pack.name}.new"
        shutil.rmtree(staging, ignore_errors=True)  # of a process that died, for the lock is ours
        staging.mkdir()
        try:
            place: _Place = (
                _Brought(source, pack)
                if source
                else _Downloaded(Fetcher(models_dir, schemes=schemes), pack, progress)
            )
            received = [_receive(member, place, staging, progress) for member in pack.members]
            _describe(pack, received, staging, _measured(folder))
            _publish(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        place.forget()
    return received


def _refuse_strange(folder: Path, pack: Pack) -> None:
    """Raise ConfigurationError where the folder belongs to somebody who wrote it by hand."""
    description = folder / DESCRIPTION
    if not description.exists():
        return
    if any(spec.pack != pack.name for spec in read_description(description)):
        raise ConfigurationError(
            f"{description} is not from an installation of {pack.name}: move the folder away first."
        )


def _receive(member: Member, place: _Place, staging: Path, progress: Progress) -> Received:
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
    description = folder / DESCRIPTION
    specs = read_description(description) if description.exists() else []
    return {
        spec.sha256: {
            "calibration": {"c0": spec.calibration.c0, "c1": spec.calibration.c1},
            "fmr": [list(row) for row in spec.fmr],
        }
        for spec in specs
        if spec.calibration
    }


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
    for member, row in zip(pack.members, received, strict=True):
        path = staging / member.spec.file
        sha256 = sha256_of(path)
        known_of_it = {"sha256": sha256, "bytes": path.stat().st_size, **measured.get(sha256, {})}
        known = f"# Published: SHA-256 {row.published or 'unknown'}."
        lines += ["", f"# Received: SHA-256 {row.sha256}, {row.note}.", known, "[[model]]"]
        lines += [
            f"{key} = {_toml(value)}" for key, value in {**member.table, **known_of_it}.items()
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


class _Place(Protocol):
    """Where the published files of a pack come from."""

    def copy(self, file: str, original: Original, target: IO[bytes]) -> str:
        """Copy that file into the stream and return its SHA-256; ModelUnavailable if it cannot."""
        ...

    def vouches(self, file: str) -> bool:
        """Tell whether the SHA-256 of what this file came out of was known and right."""
        ...

    def forget(self) -> None:
        """Remove what was only needed on the way."""
        ...


class _Brought:
    """A folder that somebody filled, with the files themselves or with the archive."""

    def __init__(self, folder: Path, pack: Pack) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"There is no folder {folder} to take weights from.")
        self._folder = folder
        self._pack = pack

    def copy(self, file: str, original: Original, target: IO[bytes]) -> str:
        del original  # whoever brings a file answers for it
        folders = (self._folder, self._folder / self._pack.name)
        for path in (folder / file for folder in folders):
            if path.is_file():
                with _readable(path) as stream:
                    return _copied(stream, target, LARGEST, path.name)
        archives = [d.name for d in self._pack.downloads if d.name.endswith(".zip")]
        for path in (folder / name for folder in folders for name in archives):
            if path.is_file():
                return _unpacked(path, file, target, LARGEST)
        looked = ", ".join((file, f"{self._pack.name}/{file}", *archives))
        raise ModelUnavailable(
            f"{self._folder} has nothing to install {self._pack.name} from: looked for {looked}."
        )

    def vouches(self, file: str) -> bool:
        del file
        return False

    def forget(self) -> None:
        """Leave the folder as it was: it is somebody else's."""


class _Downloaded:
    """The addresses of a definition, each asked once."""

    def __init__(self, fetcher: Fetcher, pack: Pack, progress: Progress) -> None:
        self._fetcher = fetcher
        self._pack = pack
        self._progress = progress
        self._here: dict[str, Path] = {}

    def copy(self, file: str, original: Original, target: IO[bytes]) -> str:
        download = self._download_of(file)
        path = self._fetched(download)
        limit = original.bytes or LARGEST
        if download.name == file:
            with path.open("rb") as stream:
                found = _copied(stream, target, limit, file)
        else:
            found = _unpacked(path, file, target, limit)
        if original.sha256 not in (None, found):
            raise ModelUnavailable(
                f"{file} out of {download.url} is not the file that is known "
                f"(SHA-256 {found}, not {original.sha256})."
            )
        return found

    def vouches(self, file: str) -> bool:
        return self._download_of(file).sha256 is not None

    def forget(self) -> None:
        for path in self._here.values():
            path.unlink(missing_ok=True)

    def _download_of(self, file: str) -> Download:
        by_name = {download.name: download for download in self._pack.downloads}
        return by_name.get(file) or self._pack.downloads[0]

    def _fetched(self, download: Download) -> Path:
        if download.url not in self._here:
            stage = f"fetch {download.name}"
            report = _reporting(self._progress, stage)
            try:
                path = self._fetcher.fetch(download.url, download.sha256, download.bytes, report)
            except ModelUnavailable as error:
                raise ModelUnavailable(
                    f"{error.message} Or fetch it on another machine, and run `knownface models "
                    f"install {self._pack.name} --from DIR` with the folder it is in."
                ) from error
            self._here[download.url] = path
        return self._here[download.url]


def _reporting(progress: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(stage, done, total)


def _readable(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:  # which would otherwise look as if the models folder was the trouble
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}.") from error


def _copied(source: IO[bytes], target: IO[bytes], limit: int, name: str) -> str:
    try:
        return copy_within(source, target, limit)
    except ValueError as error:
        raise ModelUnavailable(f"{name} cannot be used: {error}.") from error


def _unpacked(archive: Path, file: str, target: IO[bytes], limit: int) -> str:
    """Copy a file out of an archive, wherever in it that lies; its own path is never used."""
    with _opened(archive) as opened:
        found = [i for i in opened.infolist() if PurePosixPath(i.filename).name == file]
        if len(found) != 1:
            problem = "is not in it" if not found else "is in it more than once"
            raise ModelUnavailable(f"{archive.name.lstrip('.')} cannot be used: {file} {problem}.")
        # Read piece by piece up to the limit, whatever size the archive claims.
        with opened.open(found[0]) as stream:
            return _copied(stream, target, limit, file)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with _readable(archive) as stream, zipfile.ZipFile(stream) as opened:
            yield opened
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ModelUnavailable(f"{archive.name.lstrip('.')} cannot be read: {error}.") from error


_PACK: Final = TypeAdapter(Pack)
_ORIGINAL: Final = TypeAdapter(Original)
