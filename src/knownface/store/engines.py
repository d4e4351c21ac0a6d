"""A URL becomes a database: how to connect, how to begin, how to end.

Nothing above this module sees an exception of SQLAlchemy or of a driver.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from knownface.errors import ConfigurationError, Unavailable
from knownface.store.erasure import PAGE_SIZE
from knownface.store.failures import BUSY, Failure, raise_at_run_time, translated

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy.engine.interfaces import DBAPIConnection

logger = logging.getLogger(__name__)

_CLOSED = "The server is shutting down."
_URL_FORMS = "Use sqlite:////folder/file.db or postgresql://user:password@host:5432/name."

# Any number that no other program is likely to lock in the same database.
_SCHEMA_LOCK = 0x6B6E6F776E666163
_IDLE_CONNECTIONS = 8

# What a URL may override. Without keep-alives a server that vanished is waited for during hours.
_POSTGRES_DEFAULTS = {
    "application_name": "knownface",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


class Database(ABC):
    """One database behind one URL.

    `tells_state_at_once` says whether `state` takes no longer than a look at memory.
    """

    tells_state_at_once: ClassVar[bool]

    def __init__(self, url: URL) -> None:
        self.url_without_password = _shown(url)
        self.file: Path | None = None
        self._opening = True
        self._closed = False

    def opened(self) -> None:
        """Tell that the start is over: failures are no longer the fault of a setting."""
        self._opening = False

    def _translated(self) -> AbstractContextManager[None]:
        if self._closed:
            raise Unavailable(_CLOSED)
        return translated(self._refuse_to_start if self._opening else raise_at_run_time)

    def _refuse_to_start(self, failure: Failure) -> NoReturn:
        raise ConfigurationError(
            f"The database {self.url_without_password} cannot be used: "
            f"{failure.detail}. {failure.advice}"
        )

    @abstractmethod
    def begin(self) -> AbstractContextManager[Connection]:
        """Open a transaction that writes: the block's end commits it, an exception undoes it."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Connection]:
        """Open a transaction that reads one state of the database in all its statements."""

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Keep other processes from migrating until this transaction ends, or this process dies."""

    @abstractmethod
    def erased(self) -> None:
        """Remove what a committed transaction erased from where older states of it are kept."""

    @abstractmethod
    def state(self) -> object | None:
        """Return what differs after each commit from what it was before, by whomever it is.

        None where that is not known. Of two that are equal, nothing was committed between them.
        """

    def ping(self) -> None:
        """Raise a KnownfaceError unless the database answers."""
        with self.snapshot() as connection:
            connection.execute(text("SELECT 1"))

    @abstractmethod
    def close(self) -> None:
        """Let go of all connections; whoever comes later gets Unavailable."""


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
        self._reader = self._engine(url, pool_size=_IDLE_CONNECTIONS, max_overflow=-1)
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
            f"The database {_shown(url)} cannot be opened: {error.strerror}. "
            "Check that its folder exists and may be written."
        ) from error
    return path


class Postgres(Database):
    """A server: writers of one service wait for its row, those of different ones never meet."""

    tells_state_at_once = False

    def __init__(self, url: URL, busy_timeout: float) -> None:
        super().__init__(url)
        # Zero would be for ever.
        self._wait = max(1, int(busy_timeout * 1000))
        self._engine = create_engine(
            url,
            pool_size=_IDLE_CONNECTIONS,
            max_overflow=3 * _IDLE_CONNECTIONS,
            pool_timeout=busy_timeout,
            pool_pre_ping=True,
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            connect_args={
                name: value for name, value in _POSTGRES_DEFAULTS.items() if name not in url.query
            },
        )
        event.listen(self._engine, "connect", self._prepare)
        self._watching = threading.Lock()
        self._watch: Connection | None = None

    def _prepare(self, connection: DBAPIConnection, _record: object) -> None:
        """Bound all waiting: for a lock, and for a client that vanished within a transaction."""
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"SET lock_timeout = {self._wait}")
            cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
        connection.commit()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._translated(), self._engine.connect() as connection:
            reading = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            with reading.begin():
                yield reading

    def state(self) -> object | None:
        """Return which transactions are visible now: one query, on a connection kept for it.

        Another database of the same server changes it, too, which costs time and no truth.
        """
        with self._watching:
            try:
                if self._closed:
                    return None
                if self._watch is None:
                    self._watch = self._engine.connect().execution_options(
                        isolation_level="AUTOCOMMIT"
                    )
                row = self._watch.exec_driver_sql("SELECT pg_current_snapshot()::text")
                return str(row.scalar_one())
            except SQLAlchemyError as error:
                logger.warning("the state of the database is not known: %s", type(error).__name__)
                self._stop_watching()
                return None

    def _stop_watching(self) -> None:
        if self._watch is not None:
            with suppress(SQLAlchemyError):
                self._watch.close()
            self._watch = None

    def erased(self) -> None:
        """Nothing to do: what dead rows still hold is the server's own affair, and VACUUM's."""

    def lock_schema(self, connection: Connection) -> None:
        # Another replica's migration may take its time.
        connection.execute(text("SET LOCAL lock_timeout = '10min'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})

    def close(self) -> None:
        with self._watching:
            self._closed = True
            self._stop_watching()
        self._engine.dispose()


def open_database(url: str, busy_timeout: float) -> Database:
    """Return the database of a URL, not yet connected. ConfigurationError where there is none."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise ConfigurationError(f"The database URL cannot be understood. {_URL_FORMS}") from None
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return _open_sqlite(parsed, busy_timeout)
        case "postgres" | "postgresql" | "postgresql+psycopg":
            return Postgres(parsed.set(drivername="postgresql+psycopg"), busy_timeout)
    raise ConfigurationError(
        f"No database of the kind {parsed.drivername} is supported. {_URL_FORMS}"
    )


def _open_sqlite(url: URL, busy_timeout: float) -> Sqlite:
    if url.database in {None, "", ":memory:"} or url.query or url.host:
        raise ConfigurationError(
            f"The SQLite database must be named by a plain file path. {_URL_FORMS}"
        )
    if sqlite3.sqlite_version_info < (3, 35):
        raise ConfigurationError(
            f"This Python comes with SQLite {sqlite3.sqlite_version}, too old for Knownface, which "
            "needs 3.35. Use a newer Python, or PostgreSQL."
        )
    return Sqlite(url.set(drivername="sqlite+pysqlite"), busy_timeout)


def _shown(url: URL) -> str:
    """Return the URL as it may be printed: neither its password nor one given as a parameter."""
    public = url.difference_update_query([name for name in url.query if "pass" in name.lower()])
    if public.drivername == "postgresql+psycopg":
        public = public.set(drivername="postgresql")
    return public.render_as_string(hide_password=True).replace("sqlite+pysqlite:", "sqlite:")
