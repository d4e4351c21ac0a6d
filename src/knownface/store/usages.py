"""How often the services were called: sums, which several processes add to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from knownface.store.queries import Queries, chunks
from knownface.store.tables import service, usage
from knownface.types import Outcome, Usage


class Usages(Queries):
    """Nothing here speaks of a person: numbers of requests, and of milliseconds."""

    def add_usage(self, some: Iterable[Usage]) -> None:
        """Add to the sums; what was counted for services that are gone is dropped."""
        # In one order, so that two processes wait for each other instead of each for the other.
        ordered = sorted(some, key=_place)
        present = self._kept({one.service_id for one in ordered})
        rows = [_row(one) for one in ordered if one.service_id in present]
        insert = sqlite.insert if self.connection.dialect.name == "sqlite" else postgresql.insert
        statement = insert(usage)
        statement = statement.on_conflict_do_update(
            index_elements=list(usage.primary_key),
            set_={
                "requests": usage.c.requests + statement.excluded.requests,
                "milliseconds": usage.c.milliseconds + statement.excluded.milliseconds,
            },
        )
        if rows:
            self.connection.execute(statement, rows)

    def usage(self, service_id: int, since: date) -> list[Usage]:
        """The sums of a service from a day on, oldest first."""
        rows = self.connection.execute(
            select(usage)
            .where(usage.c.service_id == service_id, usage.c.day >= since)
            .order_by(usage.c.day, usage.c.outcome, usage.c.bucket)
        )
        return [
            Usage(
                *(row.service_id, row.day, Outcome(row.outcome)),
                *(row.bucket, row.requests, row.milliseconds),
            )
            for row in rows
        ]

    def forget_usage(self, before: date) -> None:
        """Drop the sums of older days."""
        self.connection.execute(delete(usage).where(usage.c.day < before))

    def _kept(self, service_ids: set[int]) -> set[int]:
        """Return those that there are, and keep them until the transaction ends."""
        present: set[int] = set()
        for some in chunks(sorted(service_ids)):
            rows = self.connection.execute(
                select(service.c.id)
                .where(service.c.id.in_(some))
                .order_by(service.c.id)
                .with_for_update(read=True, key_share=True)
            )
            present.update(rows.scalars())
        return present


def _place(one: Usage) -> tuple[int, date, str, int]:
    return one.service_id, one.day, one.outcome.value, one.bucket


def _row(one: Usage) -> dict[str, object]:
    return {
        "service_id": one.service_id,
        "day": one.day,
        "outcome": one.outcome.value,
        "bucket": one.bucket,
        "requests": one.requests,
        "milliseconds": one.milliseconds,
    }
