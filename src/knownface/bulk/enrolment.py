"""Pictures become examples of a collection, and none becomes one twice.

The id of an example that comes in bulk follows from the service, the subject and the picture's
bytes. So the database itself knows a picture that was stored already, whoever stored it, whether
photographs are kept or not, and however the work was interrupted.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid5

from knownface.errors import ModelMismatch
from knownface.recognition import Options, Recognition
from knownface.store import Store, Transaction
from knownface.store.examples import New
from knownface.store.names import name_key
from knownface.subject_names import new_name
from knownface.types import Embedding, Example, Photograph, Service

_NAMESPACE: Final = UUID("5c7b1a52-4b0f-4a5e-9a63-0f2f4c1d8e77")
_REMEMBERED: Final = 64  # subjects whose earlier photographs are known by their lengths
_DERIVED: Final = 5  # the version of ids that follow from content


@dataclass(frozen=True, slots=True)
class Prepared:
    """A face that is ready to be filed under the id that its example will have."""

    subject: str
    image_id: UUID
    data: bytes
    embedding: Embedding
    photograph: Photograph | None


@dataclass(frozen=True, slots=True)
class Filed:
    """An example; not `added` when it was there before."""

    example: Example
    added: bool


class Enrolment:
    """Fills the collection of one service; safe to use from many threads."""

    def __init__(
        self, recognition: Recognition, store: Store, service: Service, options: Options
    ) -> None:
        self._recognition = recognition
        self._store = store
        self._service = service
        self._options = options
        self._lock = threading.Lock()
        self._earlier: OrderedDict[bytes, Mapping[int, Sequence[UUID]]] = OrderedDict()

    def examine(self, subject: str, data: bytes, image_id: UUID | None = None) -> Prepared | Filed:
        """Return what is to be filed of a picture, or the example that it is already.

        An `image_id` is kept if nobody has it; one that the service holds is that example, whatever
        the picture. Raises what Recognition.add_example does.
        """
        subject = new_name(subject)
        derived = self._derived(subject, data)
        wanted = image_id or derived
        with self._store.snapshot() as tx:
            owners = tx.owners([wanted, derived])
            for taken in (wanted, derived):
                if taken in owners and owners[taken].service_id == self._service.id:
                    return Filed(owners[taken].example, added=False)
            twin = self._twin(tx, subject, data) if image_id is None else None
            if twin:
                return Filed(twin, added=False)
        embedding, photograph = self._recognition.prepare(self._service, data, self._options)
        free = derived if wanted in owners else wanted
        return Prepared(subject, free, data, embedding, photograph)

    def file(self, faces: Sequence[Prepared]) -> list[Filed]:
        """Store faces in one transaction; when this returns they outlast a loss of power.

        Where the service's embedder changed meanwhile they are embedded once more.
        """
        try:
            return self._file(faces)
        except ModelMismatch:
            with self._store.snapshot() as tx:
                current = tx.service(self._service.id)
            if current is None:
                raise
            self._service = current
            model = self._recognition.pipeline.embedder_named(current.embedder).name
            if all(face.embedding.model == model for face in faces):
                raise
        return self.file([self._again(face, model) for face in faces])

    def _again(self, face: Prepared, model: str) -> Prepared:
        if face.embedding.model == model:
            return face
        options = replace(self._options, deadline=None)
        embedding, _ = self._recognition.prepare(self._service, face.data, options)
        return replace(face, embedding=embedding)

    def _file(self, faces: Sequence[Prepared]) -> list[Filed]:
        with self._store.begin() as tx:
            tx.hold(self._service.id)
            owners = tx.owners([face.image_id for face in faces])
            known = {i: o.example for i, o in owners.items() if o.service_id == self._service.id}
            lacking = {face.image_id: face for face in faces if face.image_id not in known}
            # Somebody else may have taken an id since it was found to be free.
            new = [
                New(face.subject, face.embedding, face.photograph, None if i in owners else i)
                for i, face in lacking.items()
            ]
            added = dict(zip(lacking, tx.add_examples(self._service.id, new), strict=True))
        # Of several that are one only the first is new.
        return [
            Filed(known.get(i) or added[i], added=lacking.pop(i, None) is not None)
            for i in (face.image_id for face in faces)
        ]

    def _derived(self, subject: str, data: bytes) -> UUID:
        content = hashlib.sha256(data).hexdigest()
        return uuid5(_NAMESPACE, f"{self._service.id}/{name_key(subject).hex()}/{content}")

    def _twin(self, tx: Transaction, subject: str, data: bytes) -> Example | None:
        """Return the subject's example of the same photograph that was added by itself."""
        for image_id in self._lengths(tx, subject).get(len(data), ()):
            photograph = tx.photograph(self._service.id, image_id)
            if photograph and photograph.content == data:
                return tx.example(self._service.id, image_id)
        return None

    def _lengths(self, tx: Transaction, subject: str) -> Mapping[int, Sequence[UUID]]:
        """Return the subject's examples without a derived id, by the length of the photograph."""
        key = name_key(subject)
        with self._lock:
            if key in self._earlier:
                self._earlier.move_to_end(key)
                return self._earlier[key]
        lengths: dict[int, list[UUID]] = {}
        for image_id, size in tx.photograph_sizes(self._service.id, subject):
            if image_id.version != _DERIVED:
                lengths.setdefault(size, []).append(image_id)
        with self._lock:
            self._earlier[key] = lengths
            while len(self._earlier) > _REMEMBERED:
                self._earlier.popitem(last=False)
        return lengths
