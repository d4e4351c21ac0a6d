"""Which process works on a job that is written in the database: one at a time.

It has to renew its claim, or another takes over. A table of jobs has the columns `worker` and
`heartbeat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Row, Table, func, or_, select, update

from knownface.store.queries import Queries, now

# Longer than the most pictures between two renewals take, on the slowest machine.
CLAIM_SECONDS: Final = 15.0


class Claims(Queries):
    """What tables of jobs have in common."""

    def _claim_job(
        self, jobs: Table, which: ColumnElement[bool], worker: str, *, seconds: float
    ) -> bool:
        """Give a job to this process unless another renewed its claim within these seconds."""
        moment = self._moment()
        free = or_(
            jobs.c.worker.is_(None),
            jobs.c.worker == worker,
            jobs.c.heartbeat < moment - timedelta(seconds=seconds),
        )
        return self._change_job(jobs, which & free, worker=worker, heartbeat=moment)

    def _change_job(self, jobs: Table, which: ColumnElement[bool], **values: object) -> bool:
        """Change a job; False where there is no such one."""
        changed = self.connection.execute(update(jobs).where(which).values(values))
        return changed.rowcount == 1

    def _worked_on(self, rows: Sequence[Row[*tuple[object, ...]]]) -> list[bool]:
        """Tell of each of these jobs whether a process is at it."""
        if not rows:
            return []
        alive = self._moment() - timedelta(seconds=CLAIM_SECONDS)
        return [row.worker is not None and row.heartbeat > alive for row in rows]

    def _moment(self) -> datetime:
        """Return the database's own time: the clocks of several servers differ."""
        if self.connection.dialect.name == "sqlite":
            return now()
        moment: datetime = self.connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment
