"""A service's way from the embeddings of one model to those of another.

The new ones are stored beside the old, so an example that is deleted takes both along, and neither
searches nor enrolments notice. Once every example has one, or a reason why not, the service is
pointed at the new model, which is one row; what the old one left is removed afterwards, piece by
piece. One process at a time works on a service: it has to renew its claim, or another takes over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from knownface.errors import InvalidRequest, ServiceNotFound
from knownface.store.claims import CLAIM_SECONDS, Claims
from knownface.store.examples import Examples
from knownface.store.queries import chunks
from knownface.store.tables import (
    embedding,
    example,
    left_out,
    photograph,
    reembedding,
    service,
    subject,
)
from knownface.types import Embedding, Example, LeftOut, Reembedding, ReembeddingState

_RUNNING: Final = ReembeddingState.RUNNING.value
_OPEN: Final = or_(reembedding.c.state == _RUNNING, reembedding.c.unclean)


class Reembeddings(Examples, Claims):
    """Each method that takes a `worker` does nothing and says so once that one lost its claim."""

    def queue_reembedding(self, service_id: int, model: str) -> bool:
        """Let a service change to this model as soon as a process finds time; False if it has it.

        From then on the service keeps to its model, whatever the server's is. ServiceNotFound;
        InvalidRequest while it changes to another one. What was left out before is tried again.
        """
        present = self._lock(service_id)
        job = self.reembedding(service_id)
        if job and job.state is ReembeddingState.RUNNING and job.model != model:
            raise InvalidRequest(
                f"The service is being changed to the model {job.model}: wait for its end, "
                "or cancel it."
            )
        if present.model == model:
            self._choose(service_id, model)
            return False
        if job is None or job.state is not ReembeddingState.RUNNING:
            self._renew(service_id, model)
        return True

    def reembedding(self, service_id: int) -> Reembedding | None:
        """The last change of a service's model, if there ever was one."""
        found = self._reembeddings(reembedding.c.service_id == service_id)
        return found[0] if found else None

    def open_reembeddings(self) -> list[Reembedding]:
        """All that some process has to work on, the first that was asked for first."""
        return self._reembeddings(_OPEN)

    def embedders(self) -> set[str]:
        """The models that were chosen for services."""
        chosen = select(service.c.embedder).where(service.c.embedder.is_not(None)).distinct()
        return set(self.connection.execute(chosen).scalars())

    def claim(self, service_id: int, worker: str, *, seconds: float = CLAIM_SECONDS) -> bool:
        """Give the work on a service to this process unless another renewed its claim lately."""
        wanted = and_(reembedding.c.service_id == service_id, _OPEN)
        return self._claim_job(reembedding, wanted, worker, seconds=seconds)

    def release(self, service_id: int, worker: str) -> None:
        """Let another process go on at once."""
        self._change_job(reembedding, _held(service_id, worker), worker=None)

    def survey(self, service_id: int, worker: str) -> bool:
        """Count anew how many examples there are and how many are through."""
        # Not the column: within EXISTS it would stand for the models of all services.
        model: str | None = self.connection.execute(
            select(reembedding.c.model).where(_held(service_id, worker))
        ).scalar_one_or_none()
        if model is None:
            return False
        total = select(func.count()).where(example.c.service_id == service_id)
        through = total.where(~_lacking(literal(model)))
        counts = {
            "total": total.select_from(example).scalar_subquery(),
            "done": through.select_from(example).scalar_subquery(),
        }
        held = and_(_held(service_id, worker), reembedding.c.state == _RUNNING)
        return self._change_job(reembedding, held, heartbeat=self._moment(), **counts)

    def lacking(
        self, service_id: int, model: str, *, after_key: int = 0, limit: int = 100
    ) -> list[int]:
        """The first examples above a key that have neither an embedding of the model nor a reason
        why not.
        """
        keys = self.connection.execute(
            select(example.c.key)
            .where(
                example.c.service_id == service_id,
                example.c.key > after_key,
                _lacking(literal(model)),
            )
            .order_by(example.c.key)
            .limit(limit)
        ).scalars()
        return list(keys)

    def content(self, key: int) -> bytes | None:
        """The picture that an example was made from, if it was kept."""
        content: bytes | None = self.connection.execute(
            select(photograph.c.content).where(photograph.c.example_key == key)
        ).scalar_one_or_none()
        return None if content is None else bytes(content)

    def record(
        self,
        service_id: int,
        worker: str,
        found: Mapping[int, Embedding],
        without: Mapping[int, str],
    ) -> bool:
        """Store the embeddings of examples, and the reasons of those that get none; renews the
        claim. Examples that were deleted meanwhile are passed over.
        """
        if not self._still(service_id, worker):
            return False
        model = select(reembedding.c.model).where(reembedding.c.service_id == service_id)
        name: str = self.connection.execute(model).scalar_one()
        present = self._present_keys(service_id, [*found, *without])
        rows = [self._embedding_row(key, face) for key, face in found.items() if key in present]
        reasons = [
            {"example_key": key, "model": name, "reason": reason}
            for key, reason in without.items()
            if key in present
        ]
        for table, values in ((embedding, rows), (left_out, reasons)):
            if values:
                self.connection.execute(insert(table), values)
        done = reembedding.c.done + len(rows) + len(reasons)
        return self._change_job(
            reembedding, _held(service_id, worker), heartbeat=self._moment(), done=done
        )

    def switch(self, service_id: int, worker: str, *, after_key: int) -> bool:
        """Compare the embeddings of the new model from now on; False while an example lacks one.

        Those up to a key are known to be through. Where not a single example could be embedded,
        the change fails instead.
        """
        if not self._still(service_id, worker):
            return False
        held = _held(service_id, worker)
        model: str = self.connection.execute(select(reembedding.c.model).where(held)).scalar_one()
        if self.lacking(service_id, model, after_key=after_key, limit=1):
            return False
        first = select(example.c.key).where(example.c.service_id == service_id).limit(1)
        embedded = first.join(embedding, embedding.c.example_key == example.c.key).where(
            embedding.c.model == model
        )
        if self.connection.execute(first).first() and not self.connection.execute(embedded).first():
            return self.fail(
                service_id,
                worker,
                "Not one example could be embedded: see the reasons with --status. "
                "The service goes on as it was.",
            )
        revision = self._next_revision(service_id)
        self._forget_changes(service_id, revision)
        self.connection.execute(
            update(service).where(service.c.id == service_id).values(model=model, embedder=model)
        )
        return self._end(held, ReembeddingState.DONE, unclean=True)

    def clean(self, service_id: int, worker: str, *, after_key: int, limit: int) -> int | None:
        """Remove some vectors that nobody compares any more; return the last key, None at the end.

        An example that the service's model gave no embedding keeps what it has.
        """
        moment = self._moment()
        self._lock(service_id)
        held = and_(_held(service_id, worker), reembedding.c.state != _RUNNING)
        if not self._change_job(reembedding, held, heartbeat=moment):
            return None
        compared = select(service.c.model).where(service.c.id == service_id).scalar_subquery()
        other = embedding.alias("other")
        keys: list[int] = list(
            self.connection.execute(
                select(example.c.key)
                .join(embedding, embedding.c.example_key == example.c.key)
                .where(
                    example.c.service_id == service_id,
                    example.c.key > after_key,
                    embedding.c.model != compared,
                    exists().where(other.c.example_key == example.c.key, other.c.model == compared),
                )
                .order_by(example.c.key)
                .limit(limit)
            ).scalars()
        )
        for some in chunks(sorted(set(keys))):
            self.connection.execute(
                delete(embedding).where(
                    embedding.c.example_key.in_(some), embedding.c.model != compared
                )
            )
        if keys:
            return keys[-1]
        of_service = select(example.c.key).where(example.c.service_id == service_id)
        self.connection.execute(
            delete(left_out).where(
                left_out.c.example_key.in_(of_service), left_out.c.model != compared
            )
        )
        self._change_job(reembedding, held, unclean=False, worker=None)
        self.erased = self.erased_elsewhere = True
        return None

    def fail(self, service_id: int, worker: str, reason: str) -> bool:
        """End a change for a reason that has to be seen to; queued again, it goes on from here."""
        held = and_(_held(service_id, worker), reembedding.c.state == _RUNNING)
        return self._end(held, ReembeddingState.FAILED, failure=reason, worker=None)

    def cancel_reembedding(self, service_id: int) -> bool:
        """Leave a service at its model; False when nothing was under way. ServiceNotFound."""
        self._lock(service_id)
        stopped = or_(
            reembedding.c.state == _RUNNING,
            reembedding.c.state == ReembeddingState.FAILED.value,
        )
        return self._end(
            and_(reembedding.c.service_id == service_id, stopped),
            ReembeddingState.CANCELLED,
            unclean=True,
            worker=None,
        )

    def left_out(self, service_id: int, model: str) -> list[LeftOut]:
        """The examples of a service that got no embedding of a model, oldest first."""
        rows = self.connection.execute(
            select(example.c.key, example.c.image_id, subject.c.name, left_out.c.reason)
            .join_from(example, subject)
            .join(left_out, left_out.c.example_key == example.c.key)
            .where(example.c.service_id == service_id, left_out.c.model == model)
            .order_by(example.c.key)
        )
        return [LeftOut(Example(row.key, row.image_id, row.name), row.reason) for row in rows]

    def without_photograph(self, service_id: int) -> int:
        """How many examples of a service are not kept with the picture they were made from."""
        kept = exists().where(photograph.c.example_key == example.c.key)
        number: int = self.connection.execute(
            select(func.count())
            .select_from(example)
            .where(example.c.service_id == service_id, ~kept)
        ).scalar_one()
        return number

    def _reembeddings(self, which: ColumnElement[bool]) -> list[Reembedding]:
        rows = self.connection.execute(
            select(reembedding)
            .where(which)
            .order_by(reembedding.c.queued_at, reembedding.c.service_id)
        ).all()
        return [
            _reembedding(row, working=working)
            for row, working in zip(rows, self._worked_on(rows), strict=True)
        ]

    def _renew(self, service_id: int, model: str) -> None:
        of_service = select(example.c.key).where(example.c.service_id == service_id)
        self.connection.execute(
            delete(left_out).where(
                left_out.c.example_key.in_(of_service), left_out.c.model == model
            )
        )
        self.connection.execute(delete(reembedding).where(reembedding.c.service_id == service_id))
        _, examples = self.counts(service_id)
        values = {"state": _RUNNING, "total": examples, "done": 0, "unclean": False}
        self.connection.execute(
            insert(reembedding).values(
                service_id=service_id, model=model, queued_at=self._moment(), **values
            )
        )

    def _choose(self, service_id: int, model: str) -> None:
        self.connection.execute(
            update(service).where(service.c.id == service_id).values(embedder=model)
        )

    def _present_keys(self, service_id: int, keys: Sequence[int]) -> set[int]:
        present: set[int] = set()
        for some in chunks(keys):
            present.update(
                self.connection.execute(
                    select(example.c.key).where(
                        example.c.service_id == service_id, example.c.key.in_(some)
                    )
                ).scalars()
            )
        return present

    def _lock(self, service_id: int) -> Row[*tuple[object, ...]]:
        """Keep others from writing to the service's faces until the transaction ends."""
        found = self.connection.execute(
            select(service.c.model).where(service.c.id == service_id).with_for_update()
        ).one_or_none()
        if found is None:
            raise ServiceNotFound("The service does not exist any more.")
        return found

    def _still(self, service_id: int, worker: str) -> bool:
        """Lock the service and tell whether this process is to go on with its examples."""
        self._lock(service_id)
        held = and_(_held(service_id, worker), reembedding.c.state == _RUNNING)
        return self.connection.execute(select(reembedding.c.model).where(held)).first() is not None

    def _end(self, which: ColumnElement[bool], state: ReembeddingState, **values: object) -> bool:
        return self._change_job(
            reembedding, which, state=state.value, finished_at=self._moment(), **values
        )


def _held(service_id: int, worker: str) -> ColumnElement[bool]:
    return and_(reembedding.c.service_id == service_id, reembedding.c.worker == worker)


def _lacking(model: ColumnElement[str]) -> ColumnElement[bool]:
    embedded = exists().where(embedding.c.example_key == example.c.key, embedding.c.model == model)
    given_up = exists().where(left_out.c.example_key == example.c.key, left_out.c.model == model)
    return and_(~embedded, ~given_up)


def _reembedding(row: Row[*tuple[object, ...]], *, working: bool) -> Reembedding:
    return Reembedding(
        row.service_id,
        row.model,
        ReembeddingState(row.state),
        done=row.done,
        total=row.total,
        working=working,
        unclean=row.unclean,
        failure=row.failure,
        queued_at=row.queued_at,
        finished_at=row.finished_at,
    )
