"""What happened to a service's examples since a revision, so that an index can follow without
reading them all.

Each write to the faces of a service begins by raising the service's revision. On PostgreSQL the
lock of that row makes the writers of one service wait for each other, so that revisions become
visible in their order and none is ever skipped. Then the write notes, under its revision, which
keys it put or removed; emptying the collection is one note, "clear", that replaces all before it.
Notes are numbers only, and old ones are thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    String,
    bindparam,
    delete,
    insert,
    literal,
    select,
    update,
)

from knownface.errors import ServiceNotFound
from knownface.store.queries import Queries
from knownface.store.tables import change, example, service

# Throwing away costs a walk over the log, so it is done once in so many writes.
_PRUNE_EVERY = 256

# Made once, for each search asks for it.
_revision = select(service.c.revision).where(service.c.id == bindparam("service"))


@dataclass(frozen=True, slots=True)
class Changes:
    """The net effect on an index of all revisions after one, up to `revision`.

    First, if `cleared`, everything goes; then `removed` go and `put` come, be they new or of
    another subject now.
    """

    revision: int
    cleared: bool
    put: list[int]
    removed: list[int]


class ChangeLog(Queries):
    """The revision of each service and the notes that lead to it."""

    def __init__(self, connection: Connection, log_limit: int) -> None:
        super().__init__(connection)
        self._log_limit = log_limit

    def revision(self, service_id: int) -> int:
        """How many writes the faces of a service have seen. ServiceNotFound."""
        number: int | None = self.connection.execute(
            _revision, {"service": service_id}
        ).scalar_one_or_none()
        if number is None:
            raise gone()
        return number

    def changes(self, service_id: int, since: int) -> Changes | None:
        """What happened after revision `since`; None when that is not known (any more).

        ServiceNotFound.
        """
        row = self.connection.execute(
            select(service.c.revision, service.c.log_floor).where(service.c.id == service_id)
        ).one_or_none()
        if row is None:
            raise gone()
        if not row.log_floor <= since <= row.revision:
            return None
        notes = self.connection.execute(
            select(change.c.key, change.c.kind)
            .where(change.c.service_id == service_id, change.c.revision > since)
            .order_by(change.c.revision)
        )
        cleared, last = False, dict[int, str]()
        for key, kind in notes:
            if kind == "clear":
                cleared = True
                last.clear()
            else:
                last[key] = kind
        put = [key for key, kind in last.items() if kind == "put"]
        removed = [] if cleared else [key for key, kind in last.items() if kind == "remove"]
        return Changes(row.revision, cleared, put, removed)

    def _next_revision(self, service_id: int) -> int:
        """Raise the revision, locking the service until the transaction ends. ServiceNotFound."""
        number: int | None = self.connection.execute(
            update(service)
            .where(service.c.id == service_id)
            .values(revision=service.c.revision + 1)
            .returning(service.c.revision)
        ).scalar_one_or_none()
        if number is None:
            raise gone()
        self.began.setdefault(service_id, number - 1)
        if number % _PRUNE_EVERY == 0:
            self._prune(service_id)
        return number

    def _note(self, service_id: int, revision: int, kind: str, keys: Sequence[int]) -> None:
        if keys:
            self.connection.execute(
                insert(change),
                [
                    {"service_id": service_id, "revision": revision, "key": key, "kind": kind}
                    for key in keys
                ],
            )

    def _note_all(
        self, service_id: int, revision: int, kind: str, which: ColumnElement[bool]
    ) -> int:
        """Note one kind for all examples that fulfil a condition; return how many there are."""
        noted = self.connection.execute(
            insert(change).from_select(
                ["service_id", "revision", "key", "kind"],
                select(
                    literal(service_id, BigInteger),
                    literal(revision, BigInteger),
                    example.c.key,
                    literal(kind, String),
                ).where(which),
            ),
            execution_options={"preserve_rowcount": True},
        )
        return noted.rowcount

    def _note_clear(self, service_id: int, revision: int) -> None:
        self.connection.execute(delete(change).where(change.c.service_id == service_id))
        self._note(service_id, revision, "clear", [0])

    def _forget_changes(self, service_id: int, revision: int) -> None:
        """Make every index that is older than this revision be built anew."""
        self.connection.execute(delete(change).where(change.c.service_id == service_id))
        self.connection.execute(
            update(service).where(service.c.id == service_id).values(log_floor=revision)
        )

    def _prune(self, service_id: int) -> None:
        """Keep about the newest notes of the service; whoever asks further back is told None."""
        oldest = self.connection.execute(
            select(change.c.revision)
            .where(change.c.service_id == service_id)
            .order_by(change.c.revision.desc(), change.c.key.desc())
            .offset(self._log_limit)
            .limit(1)
        ).scalar_one_or_none()
        if oldest is not None:
            self.connection.execute(
                delete(change).where(change.c.service_id == service_id, change.c.revision <= oldest)
            )
            self.connection.execute(
                update(service).where(service.c.id == service_id).values(log_floor=oldest)
            )


def gone() -> ServiceNotFound:
    """Return the error of whoever asks for a service that was deleted."""
    return ServiceNotFound("The service does not exist any more.")
