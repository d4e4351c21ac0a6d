"""What an index is built from: keys, subjects and vectors in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import LargeBinary, Row, and_, bindparam, exists, func, or_, select

from knownface.store.changes import ChangeLog
from knownface.store.erasure import MOST_HEAD, joined
from knownface.store.queries import chunks
from knownface.store.tables import embedding, example, service, subject
from knownface.types import F32, I64, Example

# How a vector lies in the database, whatever the machine.
VECTOR = np.dtype("<f4")

# Of the padding, which is long in some databases, what may be of the vector.
HEAD = func.substr(embedding.c.padding, 1, 1 + MOST_HEAD, type_=LargeBinary).label("head")

_vectors = (
    select(example.c.key, example.c.subject_id, HEAD, embedding.c.vector)
    .join_from(example, service, service.c.id == example.c.service_id)
    .join(
        embedding,
        and_(embedding.c.example_key == example.c.key, embedding.c.model == service.c.model),
    )
)

# What a search runs is made once: to make it costs more than to run it.
_embeddings = (
    select(embedding.c.example_key, HEAD, embedding.c.vector)
    .where(
        embedding.c.example_key.in_(bindparam("keys", expanding=True)),
        embedding.c.model == bindparam("model"),
    )
    .order_by(embedding.c.example_key)
)
_named = (
    select(example.c.key, example.c.image_id, subject.c.name)
    .join_from(example, subject)
    .where(
        example.c.key.in_(bindparam("keys", expanding=True)),
        example.c.service_id == bindparam("service"),
    )
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


@dataclass(frozen=True, slots=True)
class Census:
    """How many examples there are, and the sums of their keys and of their subjects."""

    examples: int
    keys: int
    subjects: int

    def besides(self, other: Census) -> list[int]:
        """What there is more than in another."""
        return [
            self.examples - other.examples,
            self.keys - other.keys,
            self.subjects - other.subjects,
        ]


class IndexFeed(ChangeLog):
    """Reads only; in a snapshot all of them speak of one revision."""

    def model(self, service_id: int) -> str | None:
        """The name of the model whose embeddings are compared in a service.

        None where there are no examples and no embedder was chosen for the service.
        """
        held = exists().where(example.c.service_id == service_id)
        name: str | None = self.connection.execute(
            select(service.c.model).where(
                service.c.id == service_id, or_(service.c.embedder.is_not(None), held)
            )
        ).scalar_one_or_none()
        return name

    def vectors(self, service_id: int, *, after_key: int = 0, limit: int = 10_000) -> Vectors:
        """The first examples above a key, at most `limit`: a million are read in pieces.

        Here as below those that have no embedding of the service's model are left out.
        """
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

    def embeddings_of(self, model: str, keys: Sequence[int]) -> tuple[I64, F32]:
        """Those of these examples, of whatever service, that have embeddings of a model.

        Returns keys, ascending [N], and vectors [N, D] (D = 0 where N = 0).
        """
        rows: list[Row[*tuple[object, ...]]] = []
        for some in chunks(sorted(set(keys))):
            rows += self.connection.execute(_embeddings, {"keys": some, "model": model}).all()
        found, heads, contents = zip(*rows, strict=True) if rows else ((), (), ())
        return np.array(found, np.int64), _matrix(heads, contents)

    def census(self, service_id: int) -> Census:
        """A summary of which examples the service has, that would differ for most others."""
        row = self.connection.execute(
            select(func.count(), func.sum(example.c.key), func.sum(example.c.subject_id)).where(
                example.c.service_id == service_id
            )
        ).one()
        return Census(*(int(number or 0) for number in row))

    def identify(self, service_id: int, keys: Sequence[int]) -> dict[int, Example]:
        """Ids and present names of those of these examples that the service holds, by key."""
        found: dict[int, Example] = {}
        for some in chunks(sorted(set(keys))):
            rows = self.connection.execute(_named, {"keys": some, "service": service_id}).all()
            for row in rows:
                found[row.key] = Example(row.key, row.image_id, row.name)
        return found


def _stack(rows: Sequence[Row[*tuple[object, ...]]]) -> Vectors:
    keys, subjects, heads, contents = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Vectors(np.array(keys, np.int64), np.array(subjects, np.int64), _matrix(heads, contents))


def _matrix(heads: Sequence[bytes], contents: Sequence[bytes]) -> F32:
    vectors = joined(list(zip(heads, contents, strict=True)))
    matrix = np.frombuffer(vectors, VECTOR).astype(np.float32, copy=False)
    return matrix.reshape(len(contents), -1 if contents else 0)
