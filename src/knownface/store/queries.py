"""What all queries share: one connection inside one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

# Far below the number of parameters that either database takes in one statement.
_CHUNK = 500


class Queries:
    """Queries over one connection, while its transaction lasts, in the thread that opened it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.erased = False
        self.began: dict[int, int] = {}  # the revisions that services had before this transaction
        self.erased_elsewhere = False  # something that no revision tells of

    def insert_unless_taken(
        self, table: Table, identity: Column[int], values: Mapping[str, object]
    ) -> int | None:
        """Insert a row and return its number, or None where a unique value of it is taken.

        Unlike looking first, this holds against another process that does the same at this moment.
        """
        insert = sqlite.insert if self.connection.dialect.name == "sqlite" else postgresql.insert
        statement = insert(table).values(values).on_conflict_do_nothing().returning(identity)
        number: int | None = self.connection.execute(statement).scalar()
        return number


def now() -> datetime:
    """Return the present moment, aware, as every time in the database is."""
    return datetime.now(UTC)


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a long list into pieces that fit into one statement."""
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
