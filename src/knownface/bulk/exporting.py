"""A collection as files: a folder of photographs a subject, a list of them all, embeddings.

Each example is read in a transaction of its own, so that an export of hours keeps no writer out;
what is deleted meanwhile is left out.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import orjson

from knownface.bulk.listing import COLUMNS
from knownface.bulk.naming import file_name
from knownface.bulk.sources import MANIFEST
from knownface.errors import ModelMismatch
from knownface.store import Store
from knownface.types import Example, Service

EMBEDDINGS: Final = "embeddings.jsonl"

_PAGE: Final = 200
_PIECE: Final = 64 << 10
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first moment of ZIP archives


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an export: its path with `/` between the parts, and its bytes in pieces."""

    name: str
    content: Iterable[bytes]
    modified: datetime | None = None


class Export:
    """What there is to export of a service; `entries` may be asked for once."""

    def __init__(
        self, store: Store, service: Service, *, subject: str | None = None, embeddings: bool
    ) -> None:
        self.examples = 0
        self.photographs = 0
        self._store = store
        self._service = service
        self._subject = subject
        self._embeddings = embeddings
        self._last = 0

    def entries(self) -> Iterator[Entry]:
        """Yield photographs by the age of their examples, then the list of them, last what is long.

        ServiceNotFound when the service is deleted meanwhile.
        """
        rows = _Rows()
        rows.write(COLUMNS)
        for example in self._all():
            with self._store.snapshot() as tx:
                photograph = tx.photograph(self._service.id, example.image_id)
                if photograph is None and tx.example(self._service.id, example.image_id) is None:
                    continue
            self.examples += 1
            self._last = example.key
            if photograph is None:
                rows.write((str(example.image_id), example.subject, "", ""))
                continue
            self.photographs += 1
            name = file_name(example.subject, example.image_id, photograph.media_type)
            yield Entry(name, (photograph.content,), photograph.created_at)
            digest = hashlib.sha256(photograph.content).hexdigest()
            rows.write((str(example.image_id), example.subject, name, digest))
        if self._embeddings:
            yield Entry(EMBEDDINGS, self._vectors())
        # The last of all: an export that has it is complete.
        yield Entry(MANIFEST, rows.pieces())

    def _all(self) -> Iterator[Example]:
        key = 0
        while True:
            with self._store.snapshot() as tx:
                tx.revision(self._service.id)
                page = tx.examples_after(self._service.id, key, _PAGE, self._subject)
            if not page:
                return
            yield from page
            key = page[-1].key

    def _vectors(self) -> Iterator[bytes]:
        for example in self._all():
            if example.key > self._last:
                return
            try:
                with self._store.snapshot() as tx:
                    stored = tx.embedding(self._service.id, example.image_id)
            except ModelMismatch:
                continue
            if stored is None:
                continue
            line = {
                "image_id": str(example.image_id),
                "subject": stored[0].subject,
                "model": stored[1].model,
                "embedding": stored[1].vector,
            }
            yield orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


class _Rows:
    """A list that is kept packed, some sixty bytes a row, until it is complete."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(1)
        self._packed: list[bytes] = []

    def write(self, cells: Iterable[str]) -> None:
        line = io.StringIO()
        csv.writer(line).writerow(cells)
        piece = self._packer.compress(line.getvalue().encode())
        if piece:
            self._packed.append(piece)

    def pieces(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj()
        for packed in (*self._packed, self._packer.flush()):
            yield unpacker.decompress(packed)


def write_folder(entries: Iterable[Entry], folder: Path) -> Iterator[None]:
    """Write files below a folder; yields now and then, so that the caller can tell how it goes."""
    for entry in entries:
        path = folder / entry.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Under its own name a file is complete.
        part = path.with_name(f".{path.name}.part")
        with part.open("wb") as stream:
            for piece in entry.content:
                stream.write(piece)
                yield
        if entry.modified:
            seconds = entry.modified.timestamp()
            os.utime(part, (seconds, seconds))
        part.replace(path)


def write_zip(entries: Iterable[Entry], stream: IO[bytes] | _Pipe) -> Iterator[None]:
    """Write an archive to a stream, seekable or not; yields after each piece of it."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            moment = entry.modified.astimezone(UTC).timetuple()[:6] if entry.modified else _EPOCH
            info = zipfile.ZipInfo(entry.name, max(_EPOCH, moment))
            info.external_attr = 0o600 << 16
            # Photographs are packed already.
            packed = entry.name in (MANIFEST, EMBEDDINGS)
            info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            with archive.open(info, "w", force_zip64=packed) as written:
                for piece in entry.content:
                    written.write(piece)
                    yield


def zip_pieces(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Return an archive piece by piece, each soon after it is made."""
    pipe = _Pipe()
    for _ in write_zip(entries, pipe):
        if len(pipe.held) >= _PIECE:
            yield pipe.take()
    yield pipe.take()


class _Pipe:
    """Keeps what is written until it is taken; nobody can go back in it."""

    def __init__(self) -> None:
        self.held = bytearray()

    def write(self, data: bytes) -> int:
        self.held += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self.held)
        self.held.clear()
        return taken

    def flush(self) -> None:
        """There is nothing to do, as for `close`; archives are written to what has them."""

    close = flush
