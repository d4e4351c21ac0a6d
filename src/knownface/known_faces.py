"""What a service knows already: its subjects and their examples, which no model is needed for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID

from knownface.collections_by_service import Collections
from knownface.errors import ExampleNotFound, KnownfaceError
from knownface.store import Renaming, Store, Transaction
from knownface.subject_names import checked_name, new_name
from knownface.types import Example, Page, Photograph, Service, Subject


class KnownFaces:
    """The use cases of subjects and examples; safe to call from many threads."""

    def __init__(self, store: Store, collections: Collections) -> None:
        self._store = store
        self._collections = collections

    def create_subject(self, service: Service, name: str) -> Subject:
        """Create a subject without examples (SubjectExists)."""
        with self._store.begin() as tx:
            return tx.create_subject(service.id, new_name(name))

    def rename_subject(
        self, service: Service, old: str, new: str, *, merge: bool = True
    ) -> Renaming:
        """Rename a subject, or merge it into the one of the new name (WouldMerge without `merge`).

        It is not updated when nothing changes.
        """
        old, new = checked_name(old), new_name(new)
        with self._store.begin() as tx:
            return tx.rename_subject(service.id, old, new, merge=merge)

    def delete_subject(self, service: Service, name: str) -> Subject:
        """Erase a subject with its embeddings and photographs (SubjectNotFound)."""
        with self._erasing(service) as tx:
            return tx.delete_subject(service.id, checked_name(name))

    def delete_subjects(self, service: Service) -> int:
        """Erase the whole collection; returns how many subjects it held."""
        with self._erasing(service) as tx:
            return tx.delete_subjects(service.id)

    def subject_names(self, service: Service) -> list[str]:
        """Return every subject's name, oldest first."""
        with self._store.snapshot() as tx:
            return tx.subject_names(service.id)

    def examples(self, service: Service, subject: str | None, page: int, size: int) -> Page:
        """Return one page of examples, of one subject or (None) of all."""
        with self._store.snapshot() as tx:
            return tx.examples(service.id, subject=subject, page=page, size=size)

    def delete_example(self, service: Service, image_id: UUID) -> Example:
        """Erase one example; a subject whose last example goes, goes too (ExampleNotFound)."""
        with self._erasing(service) as tx:
            deleted = tx.delete_examples(service.id, [image_id])
        if not deleted:
            raise ExampleNotFound(f"Image {image_id} not found")
        return deleted[0]

    def delete_examples(self, service: Service, image_ids: Sequence[UUID]) -> list[Example]:
        """Erase these examples at once and return those there were, in the order asked for."""
        with self._erasing(service) as tx:
            return tx.delete_examples(service.id, image_ids)

    def move_examples(
        self, service: Service, image_ids: Sequence[UUID], subject: str
    ) -> list[Example]:
        """File these examples under a subject, new or not; return those that were another's."""
        with self._store.begin() as tx:
            return tx.move_examples(service.id, image_ids, new_name(subject))

    def delete_examples_of(self, service: Service, subject: str | None) -> int:
        """Erase a subject with its examples, or (None) all examples; returns how many examples."""
        name = None if subject is None else checked_name(subject)
        with self._erasing(service) as tx:
            return tx.delete_examples_of(service.id, name)

    def photograph(self, service: Service, image_id: UUID) -> Photograph | None:
        """Return the picture an example was made from, byte for byte, if it is kept."""
        with self._store.snapshot() as tx:
            return tx.photograph(service.id, image_id)

    @contextmanager
    def _erasing(self, service: Service) -> Iterator[Transaction]:
        """Open a transaction that erases; afterwards nothing of it is left in memory either."""
        with self._store.begin() as tx:
            yield tx
        # What is deleted is deleted: should this fail, the next search makes up for it.
        with suppress(KnownfaceError):
            self._collections.refresh(service.id)
