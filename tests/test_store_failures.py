"""Each failure that a driver knows is told in the words of the program."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from sqlalchemy import exc

from knownface.errors import KnownfaceError, Unavailable
from knownface.store.failures import explain, translated


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("it said so")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (sqlite_error(sqlite3.SQLITE_BUSY), Unavailable, "busy"),
        (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), Unavailable, "busy"),
        (sqlite_error(sqlite3.SQLITE_FULL), KnownfaceError, "disk of the database is full"),
        (sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED), KnownfaceError, "read-only"),
        (sqlite_error(sqlite3.SQLITE_CORRUPT), KnownfaceError, "damaged"),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), KnownfaceError, "failed to read or write"),
        (sqlite_error(sqlite3.SQLITE_CONSTRAINT), KnownfaceError, "refused"),
        (sqlite3.ProgrammingError("without a code"), KnownfaceError, "refused"),
        (psycopg.errors.DiskFull("no space"), KnownfaceError, "disk of the database is full"),
        (psycopg.errors.LockNotAvailable(), Unavailable, "busy"),
        (psycopg.errors.DeadlockDetected(), Unavailable, "busy"),
        (psycopg.errors.TooManyConnections(), Unavailable, "cannot be reached"),
        (psycopg.errors.AdminShutdown(), Unavailable, "cannot be reached"),
        (psycopg.OperationalError("the connection is lost"), Unavailable, "cannot be reached"),
        (psycopg.errors.UniqueViolation("twice"), KnownfaceError, "refused"),
        (psycopg.ProgrammingError("no such option"), KnownfaceError, "refused"),
    ],
)
def test_a_failure_of_a_driver_says_whether_trying_again_helps(
    cause: Exception, kind: type[KnownfaceError], words: str
) -> None:
    failure = explain(exc.DBAPIError("SELECT secret", {"name": "Ada"}, cause))
    assert failure.kind is kind
    assert words in failure.message
    assert "secret" not in failure.message + failure.detail
    assert "Ada" not in failure.message + failure.detail


def test_a_failure_without_a_driver_is_told_as_well() -> None:
    assert explain(exc.TimeoutError()).kind is Unavailable
    assert explain(exc.InvalidRequestError("misused")).kind is KnownfaceError


def test_only_the_first_line_of_what_postgresql_says_is_repeated() -> None:
    cause = psycopg.errors.NotNullViolation("null value\nDETAIL:  Failing row contains (Ada).")
    assert "Ada" not in explain(exc.IntegrityError("", {}, cause)).detail


def test_other_exceptions_pass_untouched() -> None:
    def react(_: object) -> None:
        raise AssertionError

    with pytest.raises(KeyError), translated(react):  # type: ignore[arg-type]  # never returns
        raise KeyError
