"""Looking through a collection: its people and their pictures, page by page, however many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, exists, func, select

from knownface.store.examples import Examples
from knownface.store.names import sorting
from knownface.store.tables import example, photograph, subject


@dataclass(frozen=True, slots=True)
class SeenSubject:
    """A subject in a list: how many examples it has, and the oldest of those with a photograph."""

    name: str
    examples: int
    pictured: UUID | None


@dataclass(frozen=True, slots=True)
class SeenExample:
    """An example in a list; `pictured` says whether its photograph is kept."""

    image_id: UUID
    subject: str
    created_at: datetime
    pictured: bool


_count: Final = (
    select(func.count())
    .select_from(example)
    .where(example.c.subject_id == subject.c.id)
    .correlate(subject)
    .scalar_subquery()
)
_pictured: Final = (
    select(example.c.image_id)
    .join_from(example, photograph)
    .where(example.c.subject_id == subject.c.id)
    .order_by(example.c.key)
    .limit(1)
    .correlate(subject)
    .scalar_subquery()
)
_has_photograph: Final = exists().where(photograph.c.example_key == example.c.key)


class Browsing(Examples):
    """Pages are numbered from 0; one beyond the last is empty."""

    def browse_subjects(
        self, service_id: int, *, search: str, page: int, size: int
    ) -> tuple[list[SeenSubject], int]:
        """One page of the subjects whose names hold the searched text, and how many there are.

        Names are in alphabetical order. Neither letter case nor accents matter.
        """
        which = self._whose_names_hold(service_id, search)
        total: int = self.connection.execute(
            select(func.count()).select_from(subject).where(*which)
        ).scalar_one()
        if page * size >= total:
            return [], total
        # The page is cut out of the index alone; only its own rows are then read.
        order = (subject.c.sorting, subject.c.id)
        window = (
            select(subject.c.id).where(*which).order_by(*order).offset(page * size).limit(size)
        ).subquery()
        rows = self.connection.execute(
            select(subject.c.name, _count.label("examples"), _pictured.label("pictured"))
            .join_from(subject, window, window.c.id == subject.c.id)
            .order_by(*order)
        )
        return [SeenSubject(row.name, row.examples, row.pictured) for row in rows], total

    def browse_examples(
        self, service_id: int, *, subject_name: str | None, page: int, size: int
    ) -> tuple[list[SeenExample], int]:
        """One page of the examples of a subject or of all, oldest first, and how many there are."""
        if subject_name is None:
            which = example.c.service_id == service_id
        elif (owner := self.subject(service_id, subject_name)) is None:
            return [], 0
        else:
            which = example.c.subject_id == owner.id
        total: int = self.connection.execute(
            select(func.count()).select_from(example).where(which)
        ).scalar_one()
        if page * size >= total:
            return [], total
        window = (
            select(example.c.key).where(which).order_by(example.c.key).offset(page * size)
        ).limit(size)
        keys = window.subquery()
        rows = self.connection.execute(
            select(
                example.c.image_id,
                subject.c.name,
                example.c.created_at,
                _has_photograph.label("pictured"),
            )
            .join_from(example, subject)
            .join(keys, keys.c.key == example.c.key)
            .order_by(example.c.key)
        )
        return [_seen(row) for row in rows], total

    def pictured(self, service_id: int, image_id: UUID) -> bool:
        """Tell whether there is a photograph of this example, without reading it."""
        found = self.connection.execute(
            select(example.c.key)
            .join_from(example, photograph)
            .where(example.c.service_id == service_id, example.c.image_id == image_id)
        )
        return found.one_or_none() is not None

    @staticmethod
    def _whose_names_hold(service_id: int, search: str) -> list[ColumnElement[bool]]:
        which = [subject.c.service_id == service_id]
        if text := sorting(search.strip()):
            which.append(subject.c.sorting.contains(text, autoescape=True))
        return which


def _seen(row: Row[*tuple[object, ...]]) -> SeenExample:
    return SeenExample(row.image_id, row.name, row.created_at, bool(row.pictured))
