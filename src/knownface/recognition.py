"""The use cases, free of HTTP and SQL: where what vision sees meets what the collections know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, TypeVar
from uuid import UUID

import numpy as np

from knownface.collections_by_service import Collections
from knownface.errors import (
    ExampleNotFound,
    ModelMismatch,
    NoFaceFound,
    TooManyFaces,
)
from knownface.following import mixed
from knownface.imaging import Decoder, media_type
from knownface.store import Store
from knownface.subject_names import new_name
from knownface.types import (
    F32,
    Embedding,
    Example,
    Face,
    Image,
    Match,
    Photograph,
    Service,
    Threshold,
)
from knownface.vision.catalog import ModelSpec
from knownface.vision.embedders import unit_vectors
from knownface.vision.pipeline import CALCULATOR, Pipeline, calibration_of

T = TypeVar("T")

_FIVE_DECIMALS: Final = Decimal("0.00001")


@dataclass(frozen=True, slots=True)
class Options:
    """What a client may ask of one request; `deadline` is in seconds of `time.monotonic`.

    A `threshold` stands for this request in the place of the service's own.
    """

    det_prob_threshold: float | None = None
    limit: int = 0
    prediction_count: int = 1
    plugins: tuple[str, ...] = ()
    detect_faces: bool = True
    threshold: Threshold | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Recognized:
    """A face and the subjects it resembles most, best first; it is unknown when there are none."""

    face: Face
    matches: list[Match]


@dataclass(frozen=True, slots=True)
class Compared:
    """A face and its similarity to the one it was compared with."""

    face: Face
    similarity: float


class Recognition:
    """Every use case of recognition, detection and verification; safe to call from many threads.

    Those of a service raise ModelMismatch when its embedder changed since the Service was read;
    `steadily` makes up for that.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        collections: Collections,
        store: Store,
        decoder: Decoder,
        *,
        save_images: bool = True,
    ) -> None:
        self.pipeline = pipeline
        self._collections = collections
        self._store = store
        self._decoder = decoder
        self._save_images = save_images

    def steadily(self, service: Service, work: Callable[[Service], T]) -> T:
        """Return what `work` makes of a service, once more where its embedder changed meanwhile.

        So no answer mixes two models, and none fails because of the change.
        """
        while True:
            try:
                return work(service)
            except ModelMismatch:
                with self._store.snapshot() as tx:
                    current = tx.service(service.id)
                if current is None or current.embedder == service.embedder:
                    raise
                service = current

    # Pictures

    def recognize(self, service: Service, data: bytes, options: Options) -> list[Recognized]:
        """Return each face with its most similar subjects of the service's collection.

        Subjects below the threshold, if there is one, are left out.
        """
        least = self._least_similarity(service, options)
        model = self._embedder(service)
        faces = self._embedded_faces(self._picture(data), options, model)
        matches = self._collections.get(service.id, model).search(
            _matrix(faces), options.prediction_count, options.deadline
        )
        return [
            Recognized(face, _reaching(least, found))
            for face, found in zip(faces, matches, strict=True)
        ]

    def verify_example(
        self, service: Service, image_id: UUID, data: bytes, options: Options
    ) -> tuple[Example, list[Compared]]:
        """Compare each face of a picture with a stored example (ExampleNotFound)."""
        model = self._embedder(service)
        faces = self._embedded_faces(self._picture(data), options, model)
        example, vector = self._stored(service, model, image_id)
        return example, _compare(model, vector, faces)

    def detect(self, data: bytes, options: Options) -> list[Face]:
        """Return the faces of a picture with the attributes asked for."""
        faces = self.pipeline.analyze(
            self._picture(data),
            plugins=options.plugins,
            det_prob_threshold=options.det_prob_threshold,
            limit=options.limit,
            deadline=options.deadline,
        )
        return _some(faces)

    def verify(self, source: bytes, target: bytes, options: Options) -> tuple[Face, list[Compared]]:
        """Compare the one face of the source picture with each face of the target.

        `limit` is about the target; `limit=1` also takes the largest of several source faces.
        """
        model = self.pipeline.embedder
        first = self._single_face(self._picture(source), options, model, largest=options.limit == 1)
        faces = self._embedded_faces(self._picture(target), options, model)
        return first, _compare(model, _vector(first), faces)

    def add_example(self, service: Service, subject: str, data: bytes, options: Options) -> Example:
        """File the one face of a picture under a subject, which is created if need be."""
        subject = new_name(subject)
        embedding, photograph = self.prepare(service, data, options)
        with self._store.begin() as tx:
            return tx.add_example(service.id, subject, embedding, photograph)

    def prepare(
        self, service: Service, data: bytes, options: Options
    ) -> tuple[Embedding, Photograph | None]:
        """Return what an example of a picture's one face is made of; nothing is stored."""
        embedding = self.embedding_of(data, self._embedder(service), options)
        save = self._save_images if service.save_images is None else service.save_images
        return embedding, Photograph(data, media_type(data)) if save else None

    def embedding_of(self, data: bytes, model: ModelSpec, options: Options) -> Embedding:
        """Return the embedding of the one face of a picture: what is filed as an example."""
        options = replace(options, plugins=())
        face = self._single_face(self._picture(data), options, model, largest=False)
        if face.embedding is None:
            raise NoFaceFound
        return face.embedding

    # Embeddings

    def recognize_embeddings(
        self, service: Service, embeddings: Sequence[Sequence[float]], options: Options
    ) -> list[list[Match]]:
        """Return the most similar subjects for each embedding, in the order of the input.

        Subjects below the threshold, if there is one, are left out.
        """
        least = self._least_similarity(service, options)
        model = self._embedder(service)
        matrix = unit_vectors(model, embeddings)
        matches = self._collections.get(service.id, model).search(
            matrix, options.prediction_count, options.deadline
        )
        return [_reaching(least, found) for found in matches]

    def verify_embeddings_with_example(
        self, service: Service, image_id: UUID, embeddings: Sequence[Sequence[float]]
    ) -> list[tuple[int, float]]:
        """Return (position in the input, similarity to the stored example), most similar first."""
        model = self._embedder(service)
        matrix = unit_vectors(model, embeddings)
        return _ranked(model, matrix @ self._stored(service, model, image_id)[1])

    def verify_embeddings(
        self, source: Sequence[float], targets: Sequence[Sequence[float]]
    ) -> list[tuple[int, float]]:
        """Return (position in the targets, similarity to the source), most similar first."""
        model = self.pipeline.embedder
        vector = unit_vectors(model, [source])[0]
        return _ranked(model, unit_vectors(model, targets) @ vector)

    # Reports

    def versions(
        self, plugins: Sequence[str], *, calculator: bool, embedder: str | None = None
    ) -> dict[str, str]:
        """Return `plugins_versions` of a request: the detector and every timed plugin it runs."""
        return self.pipeline.versions([*([CALCULATOR] if calculator else []), *plugins], embedder)

    def consistent(self) -> bool:
        """Tell whether the embeddings of every service were made by the embedder it goes by."""
        with self._store.snapshot() as tx:
            return all(
                tx.model(service.id) in (None, service.embedder or self.pipeline.embedder.name)
                for service in tx.services(None)
            )

    # Steps

    def _least_similarity(self, service: Service, options: Options) -> float:
        """Return the similarity from which a subject is named; at 0 the nearest one always is."""
        threshold = options.threshold or service.threshold
        if threshold is None:
            return 0.0
        if threshold.max_fmr is not None:
            return self._embedder(service).similarity_at(threshold.max_fmr)
        return threshold.similarity or 0.0

    def _embedder(self, service: Service) -> ModelSpec:
        return self.pipeline.embedder_named(service.embedder)

    def _picture(self, data: bytes) -> Image:
        """Decode a picture with as many pixels as the pipeline needs of it."""
        return self._decoder.decode(data, self.pipeline.least_pixels)

    def _embedded_faces(self, image: Image, options: Options, model: ModelSpec) -> list[Face]:
        faces = self.pipeline.analyze(
            image,
            plugins=_with_calculator(options.plugins),
            det_prob_threshold=options.det_prob_threshold,
            limit=options.limit,
            detect=options.detect_faces,
            embedder=model.name,
            deadline=options.deadline,
        )
        return _some(faces)

    def _single_face(
        self, image: Image, options: Options, model: ModelSpec, *, largest: bool
    ) -> Face:
        turn = self.pipeline.scheduler.turn()
        faces = _some(
            self.pipeline.detect(
                image, options.det_prob_threshold, deadline=options.deadline, turn=turn
            )
        )
        if len(faces) > 1 and not largest:
            raise TooManyFaces
        slugs = _with_calculator(options.plugins)
        return self.pipeline.describe(
            image,
            faces[:1],
            slugs,
            embedder=model.name,
            deadline=options.deadline,
            turn=turn,
        )[0]

    def _stored(self, service: Service, model: ModelSpec, image_id: UUID) -> tuple[Example, F32]:
        with self._store.snapshot() as tx:
            stored = tx.embedding(service.id, image_id)
        if stored is None:
            raise ExampleNotFound("Image Id is incorrect")
        example, embedding = stored
        if embedding.model != model.name:
            raise mixed(embedding.model, model.name)
        return example, embedding.vector


def rounded(value: float) -> float:
    """Round half-up to 5 decimals, as CompreFace does, on the digits that Python would print."""
    return float(Decimal(repr(float(value))).quantize(_FIVE_DECIMALS, ROUND_HALF_UP))


def _reaching(least: float, matches: list[Match]) -> list[Match]:
    # As answers show it: the similarity that somebody reads there is a threshold that lets it pass.
    return [match for match in matches if rounded(match.similarity) >= least]


def _with_calculator(plugins: Sequence[str]) -> list[str]:
    return [CALCULATOR, *(slug for slug in plugins if slug != CALCULATOR)]


def _some(faces: list[Face]) -> list[Face]:
    if not faces:
        raise NoFaceFound
    return faces


def _vector(face: Face) -> F32:
    if face.embedding is None:
        raise NoFaceFound
    return face.embedding.vector


def _matrix(faces: Sequence[Face]) -> F32:
    return np.stack([_vector(face) for face in faces])


def _compare(model: ModelSpec, vector: F32, faces: Sequence[Face]) -> list[Compared]:
    similarity = calibration_of(model).similarity
    cosines = _matrix(faces) @ vector
    return [
        Compared(face, similarity(float(cosine)))
        for face, cosine in zip(faces, cosines, strict=True)
    ]


def _ranked(model: ModelSpec, cosines: F32) -> list[tuple[int, float]]:
    order = np.argsort(-cosines, kind="stable")
    similarity = calibration_of(model).similarity
    return [(int(i), similarity(float(cosines[i]))) for i in order]
