"""A URL becomes a database."""

from __future__ import annotations

import sqlite3

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from knownface.errors import ConfigurationError
from knownface.store.database import Database
from knownface.store.postgres import Postgres
from knownface.store.sqlite import Sqlite

_URL_FORMS = "Use sqlite:////folder/file.db or postgresql://user:password@host:5432/name."


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
