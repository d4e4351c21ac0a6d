"""The people of a service, found by name whatever its letter case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select, update

from knownface.errors import SubjectExists, SubjectNotFound, WouldMerge
from knownface.store.changes import ChangeLog
from knownface.store.names import name_key, normalized, sorting
from knownface.store.queries import chunks, now
from knownface.store.tables import example, subject, uncopied
from knownface.types import Subject

# Made once: to put a statement together costs more than to run it.
_new = insert(subject).returning(
    subject.c.id, subject.c.name, subject.c.name_key, sort_by_parameter_order=True
)


class Renaming(NamedTuple):
    """What became of the wish for another name."""

    updated: bool
    merged: bool = False


class Subjects(ChangeLog):
    """Each method that writes is one revision of the service, or ServiceNotFound."""

    def subject(self, service_id: int, name: str) -> Subject | None:
        """The subject of that name, in the spelling it is stored under."""
        row = self.connection.execute(
            select(subject.c.id, subject.c.name).where(
                subject.c.service_id == service_id, subject.c.name_key == name_key(name)
            )
        ).one_or_none()
        return None if row is None else Subject(row.id, row.name)

    def subject_names(self, service_id: int) -> list[str]:
        """All names, in the order in which the subjects were created."""
        names = self.connection.execute(
            select(subject.c.name).where(subject.c.service_id == service_id).order_by(subject.c.id)
        ).scalars()
        return list(names)

    def create_subject(self, service_id: int, name: str) -> Subject:
        """SubjectExists when there is one of that name, in any letter case."""
        self._next_revision(service_id)
        if self.subject(service_id, name) is not None:
            raise SubjectExists
        return self._insert_subjects(service_id, [name])[name_key(name)]

    def rename_subject(
        self, service_id: int, old: str, new: str, *, merge: bool = True
    ) -> Renaming:
        """Give a subject another name and tell whether that changed anything. SubjectNotFound.

        Where another subject has the new name, that one takes over all examples and the renamed one
        goes; without `merge` that is WouldMerge.
        """
        revision = self._next_revision(service_id)
        renamed = self._present(service_id, old)
        new = normalized(new)
        if renamed.name == new:
            return Renaming(updated=False)
        other = self.subject(service_id, new)
        if other is None or other.id == renamed.id:
            self.erased = True
            self.connection.execute(
                update(subject)
                .where(subject.c.id == renamed.id)
                .values(name=new, name_key=name_key(new), sorting=sorting(new))
            )
            return Renaming(updated=True)
        if not merge:
            moving, there = (self._examples_of(one) for one in (renamed, other))
            raise WouldMerge(renamed.name, moving, other.name, there)
        self.erased = True
        moved = example.c.subject_id == renamed.id
        self._note_all(service_id, revision, "put", moved)
        self.connection.execute(update(example).where(moved).values(subject_id=other.id))
        self.connection.execute(
            update(uncopied)
            .where(uncopied.c.target_id == service_id, uncopied.c.subject_id == renamed.id)
            .values(subject_id=other.id)
        )
        self.connection.execute(delete(subject).where(subject.c.id == renamed.id))
        return Renaming(updated=True, merged=True)

    def delete_subject(self, service_id: int, name: str) -> Subject:
        """Erase a subject with all its examples and return what it was. SubjectNotFound."""
        revision = self._next_revision(service_id)
        deleted = self._present(service_id, name)
        self._erase_subject(service_id, revision, deleted)
        return deleted

    def delete_subjects(self, service_id: int) -> int:
        """Erase all subjects with all examples and return how many subjects there were."""
        revision = self._next_revision(service_id)
        self._note_clear(service_id, revision)
        self.erased = True
        deleted = self.connection.execute(delete(subject).where(subject.c.service_id == service_id))
        return deleted.rowcount

    def counts(self, service_id: int) -> tuple[int, int]:
        """How many subjects and how many examples a service has."""
        subjects, examples = self.connection.execute(
            select(
                select(func.count())
                .where(subject.c.service_id == service_id)
                .select_from(subject)
                .scalar_subquery(),
                select(func.count())
                .where(example.c.service_id == service_id)
                .select_from(example)
                .scalar_subquery(),
            )
        ).one()
        return subjects, examples

    def _examples_of(self, owner: Subject) -> int:
        number: int = self.connection.execute(
            select(func.count()).select_from(example).where(example.c.subject_id == owner.id)
        ).scalar_one()
        return number

    def _awaiting(self, service_id: int, subject_ids: Sequence[int]) -> set[int]:
        """Return those of these subjects that get examples yet: see copies.py."""
        awaiting: set[int] = set()
        for some in chunks(subject_ids):
            awaiting.update(
                self.connection.execute(
                    select(uncopied.c.subject_id)
                    .where(uncopied.c.target_id == service_id, uncopied.c.subject_id.in_(some))
                    .distinct()
                ).scalars()
            )
        return awaiting

    def _present(self, service_id: int, name: str) -> Subject:
        found = self.subject(service_id, name)
        if found is None:
            raise SubjectNotFound(name)
        return found

    def _present_or_new(self, service_id: int, names: Sequence[str]) -> list[Subject]:
        """Return the subject of each name, and create those that there are not."""
        keys = [name_key(name) for name in names]
        known: dict[bytes, Subject] = {}
        for some in chunks(list(dict.fromkeys(keys))):
            rows = self.connection.execute(
                select(subject.c.name_key, subject.c.id, subject.c.name).where(
                    subject.c.service_id == service_id, subject.c.name_key.in_(some)
                )
            )
            known |= {bytes(row.name_key): Subject(row.id, row.name) for row in rows}
        lacking: dict[bytes, str] = {}  # the first spelling of several is the one that stays
        for key, name in zip(keys, names, strict=True):
            if key not in known:
                lacking.setdefault(key, name)
        known |= self._insert_subjects(service_id, list(lacking.values()))
        return [known[key] for key in keys]

    def _insert_subjects(self, service_id: int, names: Sequence[str]) -> dict[bytes, Subject]:
        """Create subjects of names that there are not, in this order; return them by their keys."""
        rows = [
            {
                "service_id": service_id,
                "name": normalized(name),
                "name_key": name_key(name),
                "sorting": sorting(name),
                "created_at": now(),
            }
            for name in names
        ]
        if not rows:
            return {}
        made = self.connection.execute(_new, rows)
        return {bytes(row.name_key): Subject(row.id, row.name) for row in made}

    def _erase_subject(self, service_id: int, revision: int, gone: Subject) -> int:
        """Erase a subject with its examples, noting them; return how many examples there were."""
        examples = self._note_all(service_id, revision, "remove", example.c.subject_id == gone.id)
        self.connection.execute(delete(subject).where(subject.c.id == gone.id))
        self.erased = True
        return examples
