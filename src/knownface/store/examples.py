"""The known faces of a service: their embeddings and the photographs they were made from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import Row, Select, and_, delete, exists, func, insert, or_, select, update

from knownface.errors import ModelMismatch
from knownface.store.erasure import joined, laid_out, padding
from knownface.store.queries import chunks, now
from knownface.store.subjects import Subjects
from knownface.store.tables import embedding, example, photograph, service, subject, uncopied
from knownface.store.vectors import HEAD, VECTOR
from knownface.types import Embedding, Example, Page, Photograph

_examples = select(example.c.key, example.c.image_id, subject.c.name).join_from(example, subject)


class New(NamedTuple):
    """A face that is to be stored; without an id of its own it gets a random one."""

    subject: str
    face: Embedding
    picture: Photograph | None
    image_id: UUID | None = None


class _Found(NamedTuple):
    example: Example
    subject_id: int


class Examples(Subjects):
    """Each method that writes is one revision of the service, or ServiceNotFound."""

    def add_example(
        self,
        service_id: int,
        subject_name: str,
        face: Embedding,
        picture: Photograph | None,
        image_id: UUID | None = None,
    ) -> Example:
        """Store a face under a subject, which is created if need be, by an unused id or a new one.

        ModelMismatch when the service holds embeddings of another model or of another length.
        """
        return self.add_examples(service_id, [New(subject_name, face, picture, image_id)])[0]

    def add_examples(self, service_id: int, faces: Sequence[New]) -> list[Example]:
        """Store faces as `add_example` does, in their order: as one revision, in few statements."""
        if not faces:
            return []
        revision = self._next_revision(service_id)
        if len({(one.face.model, len(one.face.vector)) for one in faces}) > 1:
            raise ModelMismatch("Embeddings of several models cannot be stored together.")
        self._refuse_other_model(service_id, faces[0].face.model, len(faces[0].face.vector))
        owners = self._present_or_new(service_id, [one.subject for one in faces])
        ids = [one.image_id or uuid4() for one in faces]
        rows = [
            {
                "image_id": image_id,
                "service_id": service_id,
                "subject_id": owner.id,
                "created_at": now(),
            }
            for image_id, owner in zip(ids, owners, strict=True)
        ]
        returned = self.connection.execute(
            insert(example).returning(example.c.image_id, example.c.key), rows
        )
        numbers = {row.image_id: row.key for row in returned}
        added = [
            Example(numbers[image_id], image_id, owner.name)
            for image_id, owner in zip(ids, owners, strict=True)
        ]
        keys = [one.key for one in added]
        self._insert_bytes(list(zip(keys, faces, strict=True)))
        self._note(service_id, revision, "put", keys)
        return added

    def examples(self, service_id: int, *, subject: str | None, page: int, size: int) -> Page:
        """One page of all examples or of a subject's, oldest first; empty beyond the last."""
        keys = select(example.c.key)
        if subject is None:
            keys = keys.where(example.c.service_id == service_id)
        else:
            owner = self.subject(service_id, subject)
            if owner is None:
                return Page((), page, size, 0)
            keys = keys.where(example.c.subject_id == owner.id)
        total: int = self.connection.execute(
            select(func.count()).select_from(keys.subquery())
        ).scalar_one()
        if size <= 0 or page * size >= total:
            return Page((), page, size, total)
        # The page is cut out of the index alone; only its own rows are then read.
        window = keys.order_by(example.c.key).offset(page * size).limit(size).subquery()
        rows = self.connection.execute(
            _examples.join(window, window.c.key == example.c.key).order_by(example.c.key)
        )
        return Page(tuple(map(_example, rows)), page, size, total)

    def example(self, service_id: int, image_id: UUID) -> Example | None:
        """The example of that id, unless it is another service's."""
        row = self.connection.execute(_of(_examples, service_id, image_id)).one_or_none()
        return None if row is None else _example(row)

    def embedding(self, service_id: int, image_id: UUID) -> tuple[Example, Embedding] | None:
        """The example of that id with its embedding, unless it is another service's.

        ModelMismatch when the service's model gave it none.
        """
        statement = (
            _examples.add_columns(service.c.model, HEAD, embedding.c.vector)
            .join(service, service.c.id == example.c.service_id)
            .outerjoin(
                embedding,
                and_(
                    embedding.c.example_key == example.c.key,
                    embedding.c.model == service.c.model,
                ),
            )
        )
        row = self.connection.execute(_of(statement, service_id, image_id)).one_or_none()
        if row is None:
            return None
        if row.vector is None:
            raise ModelMismatch(
                f"The example {image_id} is kept aside: it has no embedding of the model "
                f"{row.model}, which its service changed to. Delete it and add it again."
            )
        vector = np.frombuffer(joined([(row.head, row.vector)]), VECTOR).astype(
            np.float32, copy=False
        )
        return _example(row), Embedding(vector, row.model)

    def photograph(self, service_id: int, image_id: UUID) -> Photograph | None:
        """The picture that an example was made from, if it was kept."""
        statement = select(
            photograph.c.content, photograph.c.media_type, example.c.created_at
        ).join_from(example, photograph)
        row = self.connection.execute(_of(statement, service_id, image_id)).one_or_none()
        if row is None:
            return None
        return Photograph(bytes(row.content), row.media_type, row.created_at)

    def delete_examples(self, service_id: int, image_ids: Iterable[UUID]) -> list[Example]:
        """Erase these examples and return those there were, in the order asked for.

        Unknown and repeated ids are skipped. A subject whose last example goes, goes too.
        """
        revision = self._next_revision(service_id)
        found = self._find(service_id, list(dict.fromkeys(image_ids)))
        keys = [one.example.key for one in found]
        for some in chunks(keys):
            self.connection.execute(delete(example).where(example.c.key.in_(some)))
        self._delete_emptied(service_id, {one.subject_id for one in found})
        self._note(service_id, revision, "remove", keys)
        self.erased = self.erased or bool(keys)
        return [one.example for one in found]

    def move_examples(
        self, service_id: int, image_ids: Iterable[UUID], subject_name: str
    ) -> list[Example]:
        """File these examples under a subject, which is created if need be; return what moved.

        Unknown ids are skipped, and so are examples that the subject has already. A subject whose
        last example is moved away goes.
        """
        revision = self._next_revision(service_id)
        found = self._find(service_id, list(dict.fromkeys(image_ids)))
        if not found:
            return []
        owner = self._present_or_new(service_id, [subject_name])[0]
        moved = [one for one in found if one.subject_id != owner.id]
        keys = [one.example.key for one in moved]
        for some in chunks(keys):
            self.connection.execute(
                update(example).where(example.c.key.in_(some)).values(subject_id=owner.id)
            )
        self._delete_emptied(service_id, {one.subject_id for one in moved})
        self._note(service_id, revision, "put", keys)
        self.erased = self.erased or bool(keys)
        return [replace(one.example, subject=owner.name) for one in moved]

    def delete_examples_of(self, service_id: int, subject_name: str | None) -> int:
        """Erase a subject's examples and the subject, or, without a name, all examples of the
        service.

        Subjects that never had an example outlast the latter. Returns how many examples there were.
        """
        revision = self._next_revision(service_id)
        if subject_name is not None:
            owner = self.subject(service_id, subject_name)
            return 0 if owner is None else self._erase_subject(service_id, revision, owner)
        _, examples = self.counts(service_id)
        self._note_clear(service_id, revision)
        listed = uncopied.c.target_id == service_id
        self.connection.execute(
            delete(subject).where(
                subject.c.service_id == service_id,
                or_(
                    exists().where(example.c.subject_id == subject.c.id),
                    subject.c.id.in_(select(uncopied.c.subject_id).where(listed)),
                ),
            )
        )
        self.connection.execute(delete(uncopied).where(listed))
        self.erased = True
        return examples

    def _delete_emptied(self, service_id: int, subject_ids: Collection[int]) -> None:
        """Delete those of these subjects that have no example, and will not get one of a copy."""
        emptied = list(set(subject_ids) - self._awaiting(service_id, list(subject_ids)))
        for some in chunks(emptied):
            self.connection.execute(
                delete(subject).where(
                    subject.c.id.in_(some), ~exists().where(example.c.subject_id == subject.c.id)
                )
            )

    def _find(self, service_id: int, image_ids: Sequence[UUID]) -> list[_Found]:
        found: dict[UUID, _Found] = {}
        statement = _examples.add_columns(example.c.subject_id)
        for some in chunks(image_ids):
            rows = self.connection.execute(
                statement.where(example.c.service_id == service_id, example.c.image_id.in_(some))
            ).all()
            for row in rows:
                found[row.image_id] = _Found(_example(row), row.subject_id)
        return [found[image_id] for image_id in image_ids if image_id in found]

    def _refuse_other_model(self, service_id: int, model: str, length: int) -> None:
        """Raise ModelMismatch unless embeddings of this model and length are what is compared."""
        row = self.connection.execute(
            select(service.c.embedder, service.c.model).where(service.c.id == service_id)
        ).one()
        one_vector = (
            select(HEAD, embedding.c.vector)
            .join_from(example, embedding)
            .where(example.c.service_id == service_id, embedding.c.model == row.model)
            .order_by(example.c.key)
            .limit(1)
        )
        stored = self.connection.execute(one_vector).one_or_none()
        numbers = length if stored is None else len(joined([tuple(stored)])) // VECTOR.itemsize
        if (row.model, numbers) == (model, length):
            return
        if row.embedder is None and stored is None:
            self.connection.execute(
                update(service).where(service.c.id == service_id).values(model=model)
            )
            return
        raise ModelMismatch(
            f"This service holds embeddings of the model {row.model} ({numbers} numbers); "
            f"one of the model {model} ({length} numbers) cannot join them."
        )

    def _embedding_row(self, key: int, face: Embedding) -> dict[str, object]:
        vector = np.ascontiguousarray(face.vector, VECTOR).tobytes()
        laid = laid_out(self.connection, vector)
        return {
            "example_key": key,
            "model": face.model,
            "padding": laid.padding,
            "vector": laid.content,
        }

    def _insert_bytes(self, faces: Sequence[tuple[int, New]]) -> None:
        vectors = [self._embedding_row(key, new.face) for key, new in faces]
        photographs = [
            {
                "example_key": key,
                "padding": padding(self.connection, len(new.picture.content)),
                "content": new.picture.content,
                "media_type": new.picture.media_type,
            }
            for key, new in faces
            if new.picture is not None
        ]
        for table, rows in ((embedding, vectors), (photograph, photographs)):
            if rows:
                self.connection.execute(insert(table), rows)


def _of(
    statement: Select[*tuple[object, ...]], service_id: int, image_id: UUID
) -> Select[*tuple[object, ...]]:
    return statement.where(example.c.service_id == service_id, example.c.image_id == image_id)


def _example(row: Row[*tuple[object, ...]]) -> Example:
    return Example(row.key, row.image_id, row.name)
