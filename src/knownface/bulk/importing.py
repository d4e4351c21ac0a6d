"""Many pictures at once: threads see, one writer stores what they found in batches.

Few pictures are in memory at any time, however many there are. What is told as added is stored for
good, and whatever ends the work, doing it again goes on where it ended.
"""

from __future__ import annotations

import enum
import hashlib
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from knownface.bulk.enrolment import Filed, Prepared
from knownface.bulk.sources import Item
from knownface.errors import (
    InvalidRequest,
    KnownfaceError,
    NoFaceFound,
    PayloadTooLarge,
    TooManyFaces,
    UnreadableImage,
)

_BATCH: Final = 32  # faces in one transaction: its cost is then nothing beside what they cost
_BATCH_BYTES: Final = 16 << 20
_BATCH_SECONDS: Final = 0.5  # what is ready is stored after this time, few as it may be


class Kind(enum.StrEnum):
    """What became of an item, in the words of reports."""

    ADDED = "added"
    DUPLICATE = "duplicate"
    NO_FACE = "no face"
    SEVERAL_FACES = "several faces"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too large"
    INVALID = "invalid"

    @property
    def failed(self) -> bool:
        """Whether the item is not in the collection."""
        return self not in (Kind.ADDED, Kind.DUPLICATE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item, under which id it is stored, or in one sentence why it is not."""

    item: Item
    kind: Kind
    image_id: UUID | None = None
    message: str = ""


class Enrolling(Protocol):
    """What fills a collection, here or elsewhere: see Enrolment."""

    def examine(
        self, subject: str, data: bytes, image_id: UUID | None = None
    ) -> Prepared | Filed: ...

    def file(self, faces: Sequence[Prepared]) -> list[Filed]: ...


class Importer:
    """One import: `run` it once; `stop` ends it early, in good order."""

    def __init__(
        self, enrolment: Enrolling, *, jobs: int, max_file_size: int, dry_run: bool = False
    ) -> None:
        self._enrolment = enrolment
        # Two more than compute, so that no processor waits while one picture is read and another
        # is looked up: a twentieth faster than with one more.
        self._threads = max(1, jobs) + 2
        self._max_file_size = max_file_size
        self._dry_run = dry_run
        self._over = threading.Event()
        self._asked = False
        self._drawing = threading.Lock()
        self._found: queue.Queue[_Seen | Outcome | BaseException | None]
        self._found = queue.Queue(2 * self._threads)

    @property
    def stopped(self) -> bool:
        """Whether an early end was asked for."""
        return self._asked

    def stop(self) -> None:
        """Begin no other item; what is under way is finished and stored. Safe in a handler."""
        self._asked = True
        self._over.set()

    def run(self, items: Iterable[Item]) -> Generator[Outcome, None, None]:
        """Import, and yield what became of each item, in the order of their completion.

        An item is yielded as added once it is stored. What concerns more than one item ends the
        import: it is raised after all that was ready has been stored.
        """
        drawn = iter(items)
        threads = [
            threading.Thread(target=self._work, args=(drawn,), name=f"import-{n}", daemon=True)
            for n in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        try:
            yield from self._collect()
        finally:
            self._over.set()
            while any(thread.is_alive() for thread in threads):
                # They may wait for room to put what nobody wants any more.
                try:
                    self._found.get(timeout=0.05)
                except queue.Empty:
                    continue

    # In the caller's thread

    def _collect(self) -> Iterator[Outcome]:
        batch = _Batch()
        working = self._threads
        error: BaseException | None = None
        while working:
            found = self._next(batch)
            if found is None:
                working -= 1
            elif isinstance(found, BaseException):
                error = error or found
                self._over.set()
            elif isinstance(found, Outcome):
                yield found
            elif isinstance(found, _Seen):
                batch.add(found)
            if batch.due:
                yield from self._store(batch.empty())
        yield from self._store(batch.empty())
        if error:
            raise error

    def _next(self, batch: _Batch) -> _Seen | Outcome | BaseException | _Nothing | None:
        try:
            return self._found.get(timeout=batch.seconds_left)
        except queue.Empty:
            return _NOTHING

    def _store(self, batch: Sequence[_Seen]) -> Iterator[Outcome]:
        if not batch:
            return
        filed = self._enrolment.file([one.face for one in batch])
        for one, example in zip(batch, filed, strict=True):
            yield _outcome(one.item, example)

    # In the threads

    def _work(self, items: Iterator[Item]) -> None:
        try:
            while not self._over.is_set():
                with self._drawing:
                    item = next(items, None)
                if item is None:
                    return
                self._found.put(self._examine(item))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever collects
            self._found.put(error)
        finally:
            self._found.put(None)

    def _examine(self, item: Item) -> _Seen | Outcome:
        if item.read is None:
            return Outcome(item, Kind.INVALID, message=item.problem)
        try:
            data = item.read(self._max_file_size)
            if item.sha256 and hashlib.sha256(data).hexdigest() != item.sha256:
                raise UnreadableImage("The file is not the one of the list: its SHA-256 differs.")
            found = self._enrolment.examine(item.subject, data, item.image_id)
        except KnownfaceError as error:
            kind = _kind(error)
            if kind is None:
                raise
            return Outcome(item, kind, message=error.message)
        if isinstance(found, Filed):
            return _outcome(item, found)
        return Outcome(item, Kind.ADDED) if self._dry_run else _Seen(item, found)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An item whose face is ready to be stored."""

    item: Item
    face: Prepared


class _Nothing:
    """Stands for the time that passed without a result."""


_NOTHING: Final = _Nothing()


class _Batch:
    """What waits for the next transaction."""

    def __init__(self) -> None:
        self._waiting: list[_Seen] = []
        self._bytes = 0
        self._last = 0.0

    def add(self, one: _Seen) -> None:
        if not self._waiting:
            self._last = time.monotonic() + _BATCH_SECONDS
        self._waiting.append(one)
        self._bytes += len(one.face.data)

    @property
    def seconds_left(self) -> float | None:
        return max(0.0, self._last - time.monotonic()) if self._waiting else None

    @property
    def due(self) -> bool:
        full = len(self._waiting) >= _BATCH or self._bytes >= _BATCH_BYTES
        return full or self.seconds_left == 0.0

    def empty(self) -> list[_Seen]:
        taken, self._waiting, self._bytes = self._waiting, [], 0
        return taken


def _outcome(item: Item, filed: Filed) -> Outcome:
    kind = Kind.ADDED if filed.added else Kind.DUPLICATE
    return Outcome(item, kind, filed.example.image_id)


def _kind(error: KnownfaceError) -> Kind | None:
    """Return what an error says of one picture, None where it concerns them all."""
    kinds: dict[type[KnownfaceError], Kind] = {
        NoFaceFound: Kind.NO_FACE,
        TooManyFaces: Kind.SEVERAL_FACES,
        UnreadableImage: Kind.UNREADABLE,
        PayloadTooLarge: Kind.TOO_LARGE,
        InvalidRequest: Kind.INVALID,
    }
    return next((kind for one, kind in kinds.items() if isinstance(error, one)), None)
