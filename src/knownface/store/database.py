"""What every database does: how a transaction begins and ends, and what is told of it.

Nothing above this module sees an exception of SQLAlchemy or of a driver.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn

from sqlalchemy import URL, Connection, text

from knownface.errors import ConfigurationError, Unavailable
from knownface.store.failures import Failure, raise_at_run_time, translated

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_CLOSED = "The server is shutting down."
# What is kept open while nobody uses it.
IDLE_CONNECTIONS = 8


class Database(ABC):
    """One database behind one URL.

    `tells_state_at_once` says whether `state` takes no longer than a look at memory.
    """

    tells_state_at_once: ClassVar[bool]

    def __init__(self, url: URL) -> None:
        self.url_without_password = shown(url)
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


def shown(url: URL) -> str:
    """Return the URL as it may be printed: neither its password nor one given as a parameter."""
    public = url.difference_update_query([name for name in url.query if "pass" in name.lower()])
    if public.drivername == "postgresql+psycopg":
        public = public.set(drivername="postgresql")
    return public.render_as_string(hide_password=True).replace("sqlite+pysqlite:", "sqlite:")
