"""What an index is built from: keys, subjects and vectors in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Row, select

from knownface.store.changes import ChangeLog
from knownface.store.queries import chunks
from knownface.store.tables import embedding, example, subject
from knownface.types import F32, I64, Example

# How a vector lies in the database, whatever the machine.
VECTOR = np.dtype("<f4")

_vectors = select(example.c.key, example.c.subject_id, embedding.c.vector).join_from(
    example, embedding
)


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Some examples by ascending key.

    `keys` and `subjects` are int64 [N], `matrix` float32 [N, D] (D = 0 where N = 0).
    """

    keys: I64
    subjects: I64
    matrix: F32

    def __len__(self) -> int:
        return len(self.keys)


class IndexFeed(ChangeLog):
    """Reads only; in a snapshot all of them speak of one revision."""

    def models(self, service_id: int) -> set[str]:
        """The names of the models whose embeddings a service holds: none or one.

        The oldest and the newest example speak for all, since no other model gets in between.
        """
        found: set[str] = set()
        for order in (example.c.key.asc(), example.c.key.desc()):
            found.update(
                self.connection.execute(
                    select(example.c.model)
                    .where(example.c.service_id == service_id)
                    .order_by(order)
                    .limit(1)
                ).scalars()
            )
        return found

    def vectors(self, service_id: int, *, after_key: int = 0, limit: int = 10_000) -> Vectors:
        """The first examples above a key, at most `limit`: a million are read in pieces."""
        rows = self.connection.execute(
            _vectors.where(example.c.service_id == service_id, example.c.key > after_key)
            .order_by(example.c.key)
            .limit(limit)
        ).all()
        return _stack(rows)

    def vectors_of(self, service_id: int, keys: Sequence[int]) -> Vectors:
        """Those of these examples that the service holds."""
        rows: list[Row[*tuple[object, ...]]] = []
        for some in chunks(sorted(set(keys))):
            rows += self.connection.execute(
                _vectors.where(
                    example.c.service_id == service_id, example.c.key.in_(some)
                ).order_by(example.c.key)
            ).all()
        return _stack(rows)

    def identify(self, service_id: int, keys: Sequence[int]) -> dict[int, Example]:
        """Ids and present names of those of these examples that the service holds, by key."""
        statement = select(example.c.key, example.c.image_id, subject.c.name).join_from(
            example, subject
        )
        found: dict[int, Example] = {}
        for some in chunks(sorted(set(keys))):
            rows = self.connection.execute(
                statement.where(example.c.service_id == service_id, example.c.key.in_(some))
            ).all()
            for row in rows:
                found[row.key] = Example(row.key, row.image_id, row.name)
        return found


def _stack(rows: Sequence[Row[*tuple[object, ...]]]) -> Vectors:
    keys, subjects, vectors = zip(*rows, strict=True) if rows else ((), (), ())
    matrix = np.frombuffer(bytearray().join(vectors), VECTOR).astype(np.float32, copy=False)
    return Vectors(
        keys=np.array(keys, np.int64),
        subjects=np.array(subjects, np.int64),
        matrix=matrix.reshape(len(rows), -1 if rows else 0),
    )
