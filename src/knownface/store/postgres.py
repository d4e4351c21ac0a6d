"""A database on a server, by PostgreSQL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from knownface.store.database import IDLE_CONNECTIONS, Database

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

logger = logging.getLogger(__name__)

# Any number that no other program is likely to lock in the same database.
_SCHEMA_LOCK = 0x6B6E6F776E666163

# What a URL may override. Without keep-alives a server that vanished is waited for during hours.
_POSTGRES_DEFAULTS = {
    "application_name": "knownface",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


class Postgres(Database):
    """A server: writers of one service wait for its row, those of different ones never meet."""

    tells_state_at_once = False

    def __init__(self, url: URL, busy_timeout: float) -> None:
        super().__init__(url)
        # Zero would be for ever.
        self._wait = max(1, int(busy_timeout * 1000))
        self._engine = create_engine(
            url,
            pool_size=IDLE_CONNECTIONS,
            max_overflow=3 * IDLE_CONNECTIONS,
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
