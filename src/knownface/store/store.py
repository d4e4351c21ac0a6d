"""The one place of truth: applications, services, subjects, examples, in one database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import func, select

from knownface.store.browsing import Browsing
from knownface.store.database import Database
from knownface.store.engines import open_database
from knownface.store.keys import Keys
from knownface.store.migrations import is_current, migrate
from knownface.store.overview import Overview
from knownface.store.people import People
from knownface.store.transfer import Transfer
from knownface.store.usages import Usages
from knownface.store.vectors import IndexFeed


class Transaction(Keys, People, Overview, Transfer, Browsing, Usages, IndexFeed):
    """Every query of the program, inside one transaction and one thread."""


class Erased(Protocol):
    """Somebody who keeps copies of what the database holds."""

    def __call__(self, since: Mapping[int, int], *, everywhere: bool) -> None: ...


class Store:
    """A database, opened. Safe to share between threads; each transaction belongs to the thread
    that opens it.

    Failures of the database come as Unavailable (try again) or as another KnownfaceError, never as
    its driver's.
    """

    def __init__(self, database: Database, change_log: int) -> None:
        self._database = database
        self._change_log = change_log
        self._on_erasure: list[Erased] = []

    @classmethod
    def open(cls, url: str, *, busy_timeout: float = 10, change_log: int = 100_000) -> Store:
        """Open a database, bringing its tables to this version first.

        A writer waits `busy_timeout` seconds for its turn. Of each service about the newest
        `change_log` changes are kept. ConfigurationError, one line that says what to do, when the
        database cannot be used.
        """
        database = open_database(url, busy_timeout)
        try:
            with database.begin() as connection:
                database.lock_schema(connection)
                migrate(connection, database.url_without_password)
        except BaseException:
            database.close()
            raise
        database.opened()
        # A process that was killed may have left what it had erased.
        database.erased()
        return cls(database, change_log)

    @classmethod
    def look(cls, url: str, *, busy_timeout: float = 10) -> Store | None:
        """Open a database without bringing it to this version; None where that would be needed.

        ConfigurationError as from `open`.
        """
        database = open_database(url, busy_timeout)
        try:
            with database.snapshot() as connection:
                if is_current(connection):
                    return cls(database, 0)
        except BaseException:
            database.close()
            raise
        database.close()
        return None

    @property
    def url_without_password(self) -> str:
        return self._database.url_without_password

    @property
    def file(self) -> Path | None:
        """The database, where it is one file."""
        return self._database.file

    @property
    def kind(self) -> str:
        """What sort of database it is, in one word."""
        return "postgresql" if self.file is None else "sqlite"

    def size(self) -> int:
        """Return how many bytes the database takes on its disk, about."""
        if self.file is not None:
            files = (self.file.with_name(f"{self.file.name}{end}") for end in ("", "-wal"))
            return sum(file.stat().st_size for file in files if file.exists())
        with self._database.snapshot() as connection:
            size = select(func.pg_database_size(func.current_database()))
            return int(connection.execute(size).scalar_one())

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """Open a transaction that writes: committed at the end of the block, undone by an
        exception.

        Unavailable when other writers hold the database too long.
        """
        with self._database.begin() as connection:
            transaction = Transaction(connection, self._change_log)
            yield transaction
        if transaction.erased:
            self._database.erased()
            for listener in self._on_erasure:
                listener(transaction.began, everywhere=transaction.erased_elsewhere)

    def on_erasure(self, listener: Erased) -> None:
        """Call this after each transaction that erased, before whoever made it goes on.

        It gets the revisions that services had before, and whether their logs tell not everything.
        """
        self._on_erasure.append(listener)

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Open a transaction that reads one state of the database; writing in it fails."""
        with self._database.snapshot() as connection:
            yield Transaction(connection, self._change_log)

    def state(self) -> object | None:
        """Return what differs after each commit from what it was before, in whatever process.

        None where that is not known. Of two that are equal, nothing was committed between them, so
        what was read after the first still holds at the second.
        """
        return self._database.state()

    @property
    def tells_state_at_once(self) -> bool:
        """Whether `state` takes no longer than a look at memory."""
        return self._database.tells_state_at_once

    def ping(self) -> None:
        """Raise a KnownfaceError unless the database answers."""
        self._database.ping()

    def close(self) -> None:
        """Let go of the database; transactions still open may end, new ones get Unavailable."""
        self._database.close()
