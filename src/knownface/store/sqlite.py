"""A database in a file, by SQLite."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from knownface.errors import ConfigurationError, Unavailable
from knownface.store.database import IDLE_CONNECTIONS, Database, shown
from knownface.store.erasure import PAGE_SIZE
from knownface.store.failures import BUSY

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

logger = logging.getLogger(__name__)


class Sqlite(Database):
    """A file: one writer at a time, readers beside it, each with a connection of its own."""

    tells_state_at_once = True

    def __init__(self, url: URL, busy_timeout: float) -> None:
        super().__init__(url)
        self._timeout = busy_timeout
        self._path = self.file = _database_file(url)
        self._lock = threading.Lock()
        self._unerased = False
        self._writer = self._engine(url, pool_size=1, max_overflow=0)
        # Readers are bounded by the number of threads: a search never waits for another's end.
        self._reader = self._engine(url, pool_size=IDLE_CONNECTIONS, max_overflow=-1)
        event.listen(self._writer, "connect", self._prepare_writer)
        event.listen(self._reader, "connect", _prepare_reader)
        event.listen(self._writer, "begin", _begin_immediate)
        event.listen(self._reader, "begin", _begin_deferred)
        self._created = self._identity()
        self._watching = threading.Lock()
        self._watch: sqlite3.Connection | None = None

    def _engine(self, url: URL, *, pool_size: int, max_overflow: int) -> Engine:
        return create_engine(
            url,
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=max_overflow,
            hide_parameters=True,
            connect_args={"timeout": self._timeout},
        )

    def _prepare_writer(self, connection: DBAPIConnection, _record: object) -> None:
        _take_over_transactions(connection)
        with closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA auto_vacuum = NONE")
            cursor.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            cursor.execute("PRAGMA journal_mode = WAL")
            if cursor.fetchone() != ("wal",):
                raise ConfigurationError(
                    f"The folder of {self.url_without_password} is on a file system without what "
                    "SQLite needs. Choose a folder on a local disk, or use PostgreSQL."
                )
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute("PRAGMA secure_delete = ON")
            cursor.execute("PRAGMA temp_store = MEMORY")
            cursor.execute("PRAGMA journal_size_limit = 67108864")

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self._writing(), self._translated(), self._writer.begin() as connection:
            yield connection
        self._retry_erasing()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=self._timeout):
            raise Unavailable(BUSY)
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._translated(), self._reader.begin() as connection:
            yield connection
        self._retry_erasing()

    def state(self) -> object | None:
        """Return SQLite's own count of the commits that one connection sees, which never commits.

        It takes some microseconds: a look at the memory that the processes share.
        """
        with self._watching:
            try:
                if self._closed:
                    return None
                if self._watch is None:
                    self._watch = sqlite3.connect(
                        self._path, isolation_level=None, check_same_thread=False
                    )
                # Read to its end: a statement that is left open would keep the log from being
                # emptied.
                rows = self._watch.execute("PRAGMA data_version").fetchall()
            except sqlite3.Error as error:
                logger.warning("the state of the database is not known: %s", type(error).__name__)
                self._stop_watching()
                return None
            version: int = rows[0][0]
            return version

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def lock_schema(self, connection: Connection) -> None:
        """Nothing to do: BEGIN IMMEDIATE holds a lock that the kernel frees with the process."""

    def erased(self) -> None:
        self._unerased = True
        self._truncate_log(timeout=self._timeout)

    def _retry_erasing(self) -> None:
        if self._unerased:
            self._truncate_log(timeout=0)

    def _truncate_log(self, timeout: float) -> None:
        """Empty the write-ahead log, which still holds erased pages, unless somebody reads these.

        Then the end of the next transaction tries again. That a log stays is no reason to fail what
        is committed.
        """
        if not self._lock.acquire(timeout=timeout):
            return
        try:
            if self._closed:
                return
            with (
                closing(self._writer.raw_connection()) as connection,
                closing(connection.cursor()) as cursor,
            ):
                cursor.execute("PRAGMA busy_timeout = 0")
                try:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    row = cursor.fetchone()
                    self._unerased = row is None or row[0] != 0
                finally:
                    cursor.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")
        except (sqlite3.Error, SQLAlchemyError) as error:
            logger.warning("the write-ahead log could not be emptied: %s", type(error).__name__)
        finally:
            self._lock.release()

    def ping(self) -> None:
        """Raise a KnownfaceError unless the database answers from the file that was opened."""
        if self._identity() != self._created:
            raise Unavailable(
                "The database file was removed or replaced while the server runs. Restart it."
            )
        with self.snapshot() as connection:
            connection.execute(text("SELECT count(*) FROM sqlite_master"))

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def close(self) -> None:
        if self._closed:
            return
        self._truncate_log(timeout=self._timeout)
        with self._lock, self._watching:
            self._closed = True
            self._stop_watching()
            self._writer.dispose()
            self._reader.dispose()


def _take_over_transactions(connection: DBAPIConnection) -> None:
    """Keep Python's sqlite3 from beginning transactions: it would do so late, or never to read."""
    connection.isolation_level = None


def _prepare_reader(connection: DBAPIConnection, _record: object) -> None:
    _take_over_transactions(connection)
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA query_only = ON")
        cursor.execute("PRAGMA temp_store = MEMORY")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN DEFERRED")


def _database_file(url: URL) -> Path:
    """Return the path of the database's file, which is made first, for no other user to read."""
    path = Path(url.database or "").absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR))
    except OSError as error:
        raise ConfigurationError(
            f"The database {shown(url)} cannot be opened: {error.strerror}. "
            "Check that its folder exists and may be written."
        ) from error
    return path
