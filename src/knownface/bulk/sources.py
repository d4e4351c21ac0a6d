"""What is to be imported: a folder, a ZIP archive or a list, read one picture at a time.

A subject is the first folder below the top, whatever lies deeper in it; or what a list says: the
CSV file itself, or `manifest.csv` at the top of a folder or an archive, as exports have it.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from uuid import UUID

from knownface.bulk import listing
from knownface.errors import ConfigurationError, PayloadTooLarge, UnreadableImage

MANIFEST: Final = "manifest.csv"

Read = Callable[[int], bytes]

_NO_SUBJECT: Final = "It lies in no folder, so there is no subject for it."
_LITTER: Final = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
# The methods whose output can be had in small pieces, however much a few bytes unpack to.
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_UTF8_NAME: Final = 0x800
_ENCRYPTED: Final = 0x1
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to import, or the `problem` that keeps it out.

    `read(limit)` returns its bytes; it raises PayloadTooLarge for more than `limit` of them, and
    UnreadableImage. `line` is that of a list; `image_id` and `sha256` are what the list says.
    """

    file: str
    subject: str = ""
    read: Read | None = None
    problem: str = ""
    line: int | None = None
    image_id: UUID | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where pictures come from; `items` begins anew with each call, always in the same order."""

    items: Callable[[], Iterator[Item]]

    def count(self) -> int:
        """Return how many items there are; no picture is opened for it."""
        return sum(1 for _ in self.items())


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder, a ZIP archive or a CSV list (ConfigurationError when it is none of them)."""
    if path.is_dir():
        manifest = path / MANIFEST
        if manifest.is_file():
            yield Source(lambda: _listed(manifest, path, inside=True))
        else:
            yield Source(lambda: _walk(path))
    elif zipfile.is_zipfile(path):
        with _opened(path) as archive:
            yield _packed(archive)
    elif path.suffix.lower() in {".csv", ".tsv", ".txt"}:
        yield Source(lambda: _listed(path, path.parent, inside=False))
    else:
        raise ConfigurationError(
            f"{path} is no folder, no ZIP archive and no CSV list, so nothing can be imported."
        )


# Folders


def _walk(top: Path) -> Iterator[Item]:
    for entry in _entries(top):
        if isinstance(entry, Item):
            yield entry
        elif entry.is_dir():
            yield from _below(Path(entry.path), entry.name, top)
        else:
            yield Item(entry.name, problem=_NO_SUBJECT)


def _below(folder: Path, subject: str, top: Path) -> Iterator[Item]:
    for entry in _entries(folder):
        if isinstance(entry, Item):
            yield entry
            continue
        path = Path(entry.path)
        file = path.relative_to(top).as_posix()
        if entry.is_dir(follow_symlinks=False):
            yield from _below(path, subject, top)
        elif entry.is_dir():
            # It might lead back to where we are.
            yield Item(file, subject, problem="Links to folders are followed at the top only.")
        else:
            yield Item(file, subject, _reader(path))


def _entries(folder: Path) -> Iterator[os.DirEntry[str] | Item]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield Item(str(folder), problem=f"The folder cannot be read: {error.strerror}.")
        return
    yield from (entry for entry in entries if not _is_litter((entry.name,)))


def _reader(path: Path) -> Read:
    def read(limit: int) -> bytes:
        try:
            # Whatever else there is, such as a pipe, might never end.
            if not stat.S_ISREG(path.stat().st_mode):
                raise UnreadableImage("This is no file.")
            with path.open("rb") as stream:
                return _within(stream.read(limit + 1), limit)
        except OSError as error:
            raise UnreadableImage(f"The file cannot be read: {error.strerror}.") from None

    return read


def _within(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise _too_large(limit)
    return data


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The picture has more than {limit} bytes (max_file_size).")


def _is_litter(parts: Sequence[str]) -> bool:
    """Tell whether a path is hidden, or among what file browsers leave behind."""
    hidden = any(part.startswith(".") and part != ".." for part in parts)
    return hidden or any(part.lower() in _LITTER for part in parts)


# Archives


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except _BROKEN as error:
        raise ConfigurationError(f"The archive {path} cannot be read: {error}.") from None
    with archive:
        yield archive


def _packed(archive: zipfile.ZipFile) -> Source:
    """Return the source of an archive, of which no more than one picture a reader is unpacked."""
    entries = {_name(info): info for info in archive.infolist() if not info.is_dir()}
    if MANIFEST in entries:
        return Source(lambda: _packed_list(archive, entries))
    names = [name for name in entries if not _is_litter(_parts(name))]
    depth = _wrapping(names)
    return Source(lambda: (_entry(archive, entries[name], name, depth) for name in names))


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, depth: int) -> Item:
    parts = _parts(name)
    if ".." in parts or name.startswith("/"):
        return Item(name, problem="Its path leads out of the archive.")
    if len(parts) < depth + 2:
        return Item(name, problem=_NO_SUBJECT)
    return Item(name, parts[depth], _unpacker(archive, info))


def _name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & _UTF8_NAME:
        # Not said to be UTF-8, yet most programs write nothing else.
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            name = info.filename
    return name.replace("\\", "/")


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parts


def _wrapping(names: Sequence[str]) -> int:
    """Return 1 when a single folder at the top holds the folders of all subjects, else 0."""
    tops = {_parts(name)[0] for name in names}
    return int(len(tops) == 1 and all(len(_parts(name)) > 2 for name in names))


def _unpacker(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Read:
    def read(limit: int) -> bytes:
        if info.file_size > limit:
            raise _too_large(limit)
        if info.flag_bits & _ENCRYPTED:
            raise UnreadableImage("The entry of the archive is encrypted.")
        if info.compress_type not in _METHODS:
            raise UnreadableImage("The entry of the archive is packed in a way that is not read.")
        try:
            with archive.open(info) as stream:
                return _within(stream.read(limit + 1), limit)
        except _BROKEN as error:
            raise UnreadableImage(f"The entry of the archive is damaged: {error}.") from None

    return read


# Lists


def _listed(path: Path, top: Path, *, inside: bool) -> Iterator[Item]:
    try:
        with path.open("rb") as lines:
            for row in listing.read(lines, str(path)):
                yield _item(row, lambda file: _reader(top / file), inside=inside)
    except OSError as error:
        raise ConfigurationError(f"The list {path} cannot be read: {error.strerror}.") from None


def _packed_list(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> Iterator[Item]:
    def reader(file: str) -> Read | None:
        info = entries.get(file.replace("\\", "/"))
        return _unpacker(archive, info) if info else None

    try:
        with archive.open(entries[MANIFEST]) as lines:
            for row in listing.read(lines, MANIFEST):
                yield _item(row, reader, inside=True)
    except _BROKEN as error:
        raise ConfigurationError(f"{MANIFEST} of the archive cannot be read: {error}.") from None


def _item(row: listing.Row, reader: Callable[[str], Read | None], *, inside: bool) -> Item:
    problem = row.problem
    if not problem and inside and (".." in _parts(row.file) or row.file.startswith("/")):
        problem = "Its path leads out of the folder or archive."
    read = None if problem else reader(row.file)
    if not problem and read is None:
        problem = "The archive has no such entry."
    return Item(row.file, row.subject, read, problem, row.line, row.image_id, row.sha256)
