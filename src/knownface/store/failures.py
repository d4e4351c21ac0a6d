"""What a failure of the database is called here: the only place that knows the drivers' codes."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from knownface.errors import KnownfaceError, Unavailable

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

BUSY = "The database is busy with other writes. Try again in a moment."
_LOST = "The database cannot be reached at the moment. Try again in a moment."
_FULL = "The disk of the database is full: nothing was stored. Free some space and try again."
_READ_ONLY = "The database cannot be written: its disk or its files are read-only."
_DAMAGED = (
    "The database file is damaged or is no SQLite database. Restore a backup, or name another file."
)
_DISK = "The disk of the database failed to read or write: nothing was stored."
_REFUSED = "The database refused a statement; the server's log says why."
_ADVICE = "Check the database URL, and that the database runs and this user may write to it."

_BUSY_STATES = frozenset({"40001", "40P01", "55P03", "57014"})
_LOST_STATES = frozenset({"25P03", "25P04", "25006"})
_LOST_CLASSES = frozenset({"08", "53", "57", "58"})
_DISK_FULL_STATE = "53100"


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: told to a client, to the log, and as advice to whoever starts us."""

    kind: type[KnownfaceError]
    message: str
    detail: str
    advice: str = _ADVICE


def explain(error: SQLAlchemyError) -> Failure:
    """Tell a failure of SQLAlchemy or of a driver in our own words."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(error, PoolTimeout):
        return Failure(Unavailable, BUSY, "all connections are in use")
    if isinstance(cause, sqlite3.Error):
        return _explain_sqlite(cause)
    # Only PostgreSQL is worth the time and the megabytes of its driver.
    import psycopg

    if isinstance(cause, psycopg.Error):
        return _explain_postgres(cause)
    return Failure(KnownfaceError, _REFUSED, type(error).__name__)


def _explain_sqlite(error: sqlite3.Error) -> Failure:
    detail = f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
    # The low byte is the kind of failure, what stands above it only the circumstance.
    match getattr(error, "sqlite_errorcode", -1) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Failure(Unavailable, BUSY, detail)
        case sqlite3.SQLITE_FULL:
            message = _FULL
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            message = _READ_ONLY
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            message = _DAMAGED
        case sqlite3.SQLITE_IOERR:
            message = _DISK
        case _:
            return Failure(KnownfaceError, _REFUSED, detail)
    return Failure(KnownfaceError, message, detail, advice=message)


def _explain_postgres(error: psycopg.Error) -> Failure:
    # The first line only: the lines after it may quote the row, and thereby a person's name.
    words = error.diag.message_primary or next(iter(str(error).splitlines()), "")
    detail = f"{' '.join(words.split())} ({type(error).__name__})"
    state = error.sqlstate
    if state == _DISK_FULL_STATE:
        return Failure(KnownfaceError, _FULL, detail, advice=_FULL)
    if state in _BUSY_STATES:
        return Failure(Unavailable, BUSY, detail)
    if state is None:
        import psycopg

        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    else:
        lost = state[:2] in _LOST_CLASSES or state in _LOST_STATES
    return (
        Failure(Unavailable, _LOST, detail) if lost else Failure(KnownfaceError, _REFUSED, detail)
    )


def raise_at_run_time(failure: Failure) -> NoReturn:
    """Log what the driver said and raise what a client may read."""
    level = logging.WARNING if issubclass(failure.kind, Unavailable) else logging.ERROR
    logger.log(level, "the database failed: %s", failure.detail)
    raise failure.kind(failure.message)


@contextmanager
def translated(react: Callable[[Failure], NoReturn]) -> Iterator[None]:
    """Let no exception of SQLAlchemy or of a driver out; `react` raises what takes its place."""
    try:
        yield
    except SQLAlchemyError as error:
        traceback = error.__traceback__
        try:
            react(explain(error))
        except KnownfaceError as ours:
            # Not chained to the cause, whose text may quote rows; the traceback still leads to the
            # statement.
            raise ours.with_traceback(traceback) from None
