"""A service becomes the copy of another, piece by piece, while both go on being used.

What it is a copy of is written down in one transaction: the subjects are made, and which example
belongs to which of them is listed in `uncopied`. So the copy is the source as it was at that one
moment, without what has been deleted there before its turn came: that is erased, and stays so. Each
piece takes examples off the list in the transaction that copies them; whoever is killed loses at
most the piece at hand. One process at a time works on a copy: it has to renew its claim, or another
takes over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    and_,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
    values,
)

from knownface.errors import InvalidRequest
from knownface.store.changes import gone
from knownface.store.claims import CLAIM_SECONDS
from knownface.store.queries import chunks
from knownface.store.reembeddings import Reembeddings
from knownface.store.tables import (
    copying,
    embedding,
    example,
    left_out,
    photograph,
    service,
    subject,
    uncopied,
)
from knownface.types import Copying, CopyState, ReembeddingState

_RUNNING: Final = CopyState.RUNNING.value


class Copies(Reembeddings):
    """Each method that takes a `worker` does nothing and says so once that one lost its claim."""

    def queue_copy(self, source_id: int, target_id: int) -> Copying:
        """Let a service without faces become a copy of another, as that one is at this moment.

        InvalidRequest while the source changes its embedder or is itself still being copied to.
        ServiceNotFound.
        """
        model, embedder = self._settled(source_id)
        revision = self._next_revision(target_id)
        self.connection.execute(
            update(service).where(service.c.id == target_id).values(model=model, embedder=embedder)
        )
        self._copy_subjects(source_id, target_id)
        _, examples = self.counts(source_id)
        self.connection.execute(
            insert(copying).values(
                target_id=target_id,
                source_id=source_id,
                state=_RUNNING,
                total=examples,
                done=0,
                queued_at=self._moment(),
            )
        )
        self._list_examples(source_id, target_id)
        # An index that was built before is to be built anew: no note tells of the subjects.
        self._forget_changes(target_id, revision)
        return Copying(target_id, source_id, CopyState.RUNNING, 0, examples, working=False)

    def copy_of(self, target_id: int) -> Copying | None:
        """How a service stands that is or was made as a copy."""
        found = self._copies(copying.c.target_id == target_id)
        return found[0] if found else None

    def copies_into(self, application_id: int) -> dict[int, Copying]:
        """The same of all services of an application, by the number of the copy."""
        of = select(service.c.id).where(service.c.application_id == application_id)
        return {one.target_id: one for one in self._copies(copying.c.target_id.in_(of))}

    def open_copies(self) -> list[Copying]:
        """All that some process has to work on, the first that was asked for first."""
        return self._copies(copying.c.state == _RUNNING)

    def refuse_while_copied(self, service_id: int) -> None:
        """Raise InvalidRequest while a service is copied, or copied to: its model has to stay."""
        running = select(copying.c.target_id).where(
            copying.c.state == _RUNNING,
            or_(copying.c.source_id == service_id, copying.c.target_id == service_id),
        )
        if self.connection.execute(running).first():
            raise InvalidRequest(
                "The service is being copied: wait for the end of that, then try again."
            )

    def claim_copy(self, target_id: int, worker: str, *, seconds: float = CLAIM_SECONDS) -> bool:
        """Give the work on a copy to this process unless another renewed its claim lately."""
        running = and_(copying.c.target_id == target_id, copying.c.state == _RUNNING)
        return self._claim_job(copying, running, worker, seconds=seconds)

    def release_copy(self, target_id: int, worker: str) -> None:
        """Let another process go on at once."""
        self._change_job(copying, _held(target_id, worker), worker=None)

    def copy_some(self, target_id: int, worker: str, *, most: int, most_bytes: int) -> bool:
        """Copy some examples, but for the first no more than so many bytes of photographs; renews
        the claim. False when nothing is left to do for this process. ServiceNotFound.
        """
        job = self._held_copy(target_id, worker)
        if job is None:
            return False
        if job.source_id is None:
            return self._give_up(target_id, worker)
        self._hold_source(job.source_id)
        revision = self._next_revision(target_id)
        listed = self._listed(target_id, most)
        settled = self._affordable(listed, most_bytes)
        copied = self._copy(target_id, job.source_id, settled)
        self._note(target_id, revision, "put", copied)
        self.connection.execute(
            delete(uncopied).where(
                uncopied.c.target_id == target_id, uncopied.c.source_key.in_(list(settled))
            )
        )
        if len(copied) < len(settled):
            self._drop_emptied(target_id, set(settled.values()))
        changes: dict[str, object] = {"done": copying.c.done + len(settled)}
        if len(settled) == len(listed) < most:
            changes |= _ended(CopyState.DONE, self._moment())
        return self._set(target_id, worker, changes) and "state" not in changes

    def fail_copy(self, target_id: int, worker: str, reason: str) -> None:
        """End a copy for a reason that has to be seen to; what was copied stays."""
        failed = {**_ended(CopyState.FAILED, self._moment()), "failure": reason}
        if self._set(target_id, worker, failed):
            self.connection.execute(delete(uncopied).where(uncopied.c.target_id == target_id))

    # The moment of the copy

    def _settled(self, source_id: int) -> tuple[str | None, str | None]:
        """Hold off the source's writers and return its model and its embedder."""
        row = self.connection.execute(
            select(service.c.model, service.c.embedder)
            .where(service.c.id == source_id)
            .with_for_update()
        ).one_or_none()
        if row is None:
            raise gone()
        change = self.reembedding(source_id)
        if change and (change.state is ReembeddingState.RUNNING or change.unclean):
            raise InvalidRequest(
                "The service is being changed to another embedder: wait for the end of that, "
                "then copy it."
            )
        mine = self.copy_of(source_id)
        if mine and mine.state is CopyState.RUNNING:
            raise InvalidRequest(
                "The service is itself being copied to: wait for the end of that, then copy it."
            )
        return row.model, row.embedder

    def _copy_subjects(self, source_id: int, target_id: int) -> None:
        self.connection.execute(
            insert(subject).from_select(
                ["service_id", "name", "name_key", "sorting", "created_at"],
                select(
                    literal(target_id, BigInteger),
                    subject.c.name,
                    subject.c.name_key,
                    subject.c.sorting,
                    subject.c.created_at,
                )
                .where(subject.c.service_id == source_id)
                .order_by(subject.c.id),
            )
        )

    def _list_examples(self, source_id: int, target_id: int) -> None:
        theirs, ours = subject.alias("theirs"), subject.alias("ours")
        self.connection.execute(
            insert(uncopied).from_select(
                ["target_id", "source_key", "subject_id"],
                select(literal(target_id, BigInteger), example.c.key, ours.c.id)
                .join_from(example, theirs, theirs.c.id == example.c.subject_id)
                .join(
                    ours,
                    and_(ours.c.service_id == target_id, ours.c.name_key == theirs.c.name_key),
                )
                .where(example.c.service_id == source_id),
            )
        )

    # A piece of it

    def _held_copy(self, target_id: int, worker: str) -> Copying | None:
        found = self._copies(and_(_held(target_id, worker), copying.c.state == _RUNNING))
        return found[0] if found else None

    def _hold_source(self, source_id: int) -> None:
        """Let nothing of the source be deleted before the piece is copied, or all of it be gone."""
        self.connection.execute(
            select(service.c.id).where(service.c.id == source_id).with_for_update(read=True)
        )

    def _listed(self, target_id: int, most: int) -> list[Row[*tuple[object, ...]]]:
        first = (
            select(uncopied.c.source_key, uncopied.c.subject_id)
            .where(uncopied.c.target_id == target_id)
            .order_by(uncopied.c.source_key)
            .limit(most)
            .subquery()
        )
        rows = self.connection.execute(
            select(first, func.length(photograph.c.content).label("size"))
            .join_from(
                first, photograph, photograph.c.example_key == first.c.source_key, isouter=True
            )
            .order_by(first.c.source_key)
        )
        return list(rows)

    @staticmethod
    def _affordable(listed: Sequence[Row[*tuple[object, ...]]], most_bytes: int) -> dict[int, int]:
        """Return the first keys that together are not too much, each with its subject."""
        taken: dict[int, int] = {}
        for row in listed:
            most_bytes -= row.size or 0
            if taken and most_bytes < 0:
                break
            taken[row.source_key] = row.subject_id
        return taken

    def _copy(self, target_id: int, source_id: int, wanted: Mapping[int, int]) -> list[int]:
        """Copy those of these examples that there still are, and return the keys of the copies."""
        subjects = self._subjects_there(target_id, set(wanted.values()))
        found = self._sources(source_id, [k for k, owner in wanted.items() if owner in subjects])
        if not found:
            return []
        ids: dict[UUID, int] = {uuid4(): key for key in found}
        rows = [
            {
                "image_id": image_id,
                "service_id": target_id,
                "subject_id": wanted[key],
                "created_at": found[key],
            }
            for image_id, key in ids.items()
        ]
        returned = self.connection.execute(
            insert(example).returning(example.c.image_id, example.c.key), rows
        )
        pairs = [(ids[row.image_id], row.key) for row in returned]
        for some in chunks(pairs):
            self._copy_bytes(some)
        return sorted(key for _, key in pairs)

    def _copy_bytes(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy within the database: megabytes of photographs need not pass through here."""
        pair = (
            values(column("theirs", BigInteger), column("ours", BigInteger), literal_binds=True)
            .data(list(pairs))
            .cte("pair")
        )
        for table in (embedding, photograph, left_out):
            others = [one.name for one in table.columns if one.name != "example_key"]
            self.connection.execute(
                insert(table).from_select(
                    ["example_key", *others],
                    select(pair.c.ours, *(table.c[name] for name in others)).join_from(
                        pair, table, table.c.example_key == pair.c.theirs
                    ),
                )
            )

    def _subjects_there(self, target_id: int, ids: Iterable[int]) -> set[int]:
        """Return those that nobody deleted meanwhile."""
        there: set[int] = set()
        for some in chunks(sorted(ids)):
            there.update(
                self.connection.execute(
                    select(subject.c.id).where(
                        subject.c.service_id == target_id, subject.c.id.in_(some)
                    )
                ).scalars()
            )
        return there

    def _sources(self, source_id: int, keys: Sequence[int]) -> dict[int, datetime]:
        found: dict[int, datetime] = {}
        for some in chunks(keys):
            rows = self.connection.execute(
                select(example.c.key, example.c.created_at).where(
                    example.c.service_id == source_id, example.c.key.in_(some)
                )
            )
            found |= {row.key: row.created_at for row in rows}
        return found

    def _drop_emptied(self, target_id: int, subjects: set[int]) -> None:
        """Remove subjects all of whose examples were deleted before they could be copied."""
        for some in chunks(sorted(subjects - self._awaiting(target_id, sorted(subjects)))):
            dropped = self.connection.execute(
                delete(subject).where(
                    subject.c.service_id == target_id,
                    subject.c.id.in_(some),
                    ~exists().where(example.c.subject_id == subject.c.id),
                )
            )
            self.erased = self.erased or dropped.rowcount > 0

    # The job

    def _give_up(self, target_id: int, worker: str) -> bool:
        self.fail_copy(
            target_id, worker, "The service that was copied has been deleted: this is a part of it."
        )
        return False

    def _set(self, target_id: int, worker: str, changes: Mapping[str, object]) -> bool:
        held = _held(target_id, worker)
        return self._change_job(copying, held, heartbeat=self._moment(), **changes)

    def _copies(self, which: ColumnElement[bool]) -> list[Copying]:
        rows = self.connection.execute(
            select(copying).where(which).order_by(copying.c.queued_at, copying.c.target_id)
        ).all()
        return [
            Copying(
                *(row.target_id, row.source_id, CopyState(row.state), row.done, row.total),
                working=working,
                failure=row.failure,
            )
            for row, working in zip(rows, self._worked_on(rows), strict=True)
        ]


def _held(target_id: int, worker: str) -> ColumnElement[bool]:
    return and_(copying.c.target_id == target_id, copying.c.worker == worker)


def _ended(state: CopyState, moment: datetime) -> dict[str, object]:
    return {"state": state.value, "finished_at": moment, "worker": None}
