"""What moving whole collections in and out asks of the examples, beyond one call's needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, func, select

from knownface.store.changes import gone
from knownface.store.examples import Examples
from knownface.store.names import name_key
from knownface.store.queries import chunks
from knownface.store.tables import example, photograph, service, subject
from knownface.types import Example


class Owned(NamedTuple):
    """An example and the service that holds it."""

    service_id: int
    example: Example


_owned = select(example.c.service_id, example.c.key, example.c.image_id, subject.c.name).join_from(
    example, subject
)
# Made once, as an import asks them for each of its pictures.
_taken = _owned.where(example.c.image_id.in_(bindparam("image_ids", expanding=True)))
_sizes = (
    select(example.c.image_id, func.length(photograph.c.content).label("size"))
    .join_from(example, photograph)
    .join(subject, subject.c.id == example.c.subject_id)
    .where(
        subject.c.service_id == bindparam("service"), subject.c.name_key == bindparam("name_key")
    )
    .order_by(example.c.key)
)


class Transfer(Examples):
    """Reads that no single call over HTTP needs."""

    def hold(self, service_id: int) -> None:
        """Let nobody else write to the service until the transaction ends. ServiceNotFound."""
        # SQLite leaves out the lock: there a writer is alone from its beginning.
        held = self.connection.execute(
            select(service.c.id).where(service.c.id == service_id).with_for_update()
        ).scalar_one_or_none()
        if held is None:
            raise gone()

    def owners(self, image_ids: Sequence[UUID]) -> dict[UUID, Owned]:
        """Those of these ids that are taken, whichever service holds them."""
        found: dict[UUID, Owned] = {}
        for some in chunks(list(dict.fromkeys(image_ids))):
            for row in self.connection.execute(_taken, {"image_ids": some}):
                one = Example(row.key, row.image_id, row.name)
                found[row.image_id] = Owned(row.service_id, one)
        return found

    def photograph_sizes(self, service_id: int, subject_name: str) -> list[tuple[UUID, int]]:
        """The ids of a subject's examples that have a photograph, and its length in bytes."""
        wanted = {"service": service_id, "name_key": name_key(subject_name)}
        rows = self.connection.execute(_sizes, wanted)
        return [(row.image_id, row.size) for row in rows]

    def examples_after(
        self, service_id: int, key: int, limit: int, subject_name: str | None = None
    ) -> list[Example]:
        """The first examples above a key, of one subject or of all, at most `limit`."""
        statement = _owned.where(example.c.key > key).order_by(example.c.key).limit(limit)
        if subject_name is None:
            statement = statement.where(example.c.service_id == service_id)
        else:
            owner = self.subject(service_id, subject_name)
            if owner is None:
                return []
            statement = statement.where(example.c.subject_id == owner.id)
        rows = self.connection.execute(statement)
        return [Example(row.key, row.image_id, row.name) for row in rows]
