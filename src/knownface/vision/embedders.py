"""Embedders: a Face in an Image becomes a network's tensor, the network's output an Embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from knownface.errors import ConfigurationError, InvalidRequest, ModelUnavailable
from knownface.imaging import align, resize
from knownface.types import F32, U8, Embedding, Face, Image
from knownface.vision.catalog import ModelSpec
from knownface.vision.tensors import to_tensor


class AlignedEmbedder:
    """Every embedder fed with a crop aligned by five landmarks: SFace, and the ArcFace family.

    They differ only in what the catalogue says: colour order, mean, scale, size and dimension.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._size = spec.size[0] if spec.size else 112

    def crop(self, image: Image, face: Face) -> U8:
        """Return the aligned crop, uint8 [S, S, 3] RGB; without landmarks the whole picture."""
        if face.landmarks is None:
            return resize(image, self._size, self._size).pixels
        return align(image, face.landmarks, self._size)

    def prepare(self, image: Image, face: Face) -> F32:
        """Return the input tensor, float32 [3, S, S], in the model's colours and range."""
        return to_tensor(self.crop(image, face), self.spec)

    def embedding(self, outputs: Sequence[F32]) -> Embedding:
        """Return the unit Embedding of one run's outputs."""
        return unit_embedding(outputs[0].reshape(-1), self.spec.name)


# Both are fed and read alike; they differ in the mean and scale that hold where none are given.
FAMILIES: Final[Mapping[str, type[AlignedEmbedder]]] = {
    "arcface": AlignedEmbedder,
    "sface": AlignedEmbedder,
}


def create_embedder(spec: ModelSpec) -> AlignedEmbedder:
    """Return the embedder of the model's family, or say which families there are."""
    if spec.family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ConfigurationError(
            f"Model {spec.name}: there is no embedder family {spec.family!r}; known are {known}."
        )
    return FAMILIES[spec.family](spec)


def unit_embedding(vector: F32, model: str) -> Embedding:
    """Normalise a vector to length one; a vector without direction is the model's failure."""
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length < 1e-12:
        raise ModelUnavailable(f"Model {model} gave a vector without direction for this picture.")
    return Embedding(np.ascontiguousarray(vector / np.float32(length), dtype=np.float32), model)


def unit_vectors(model: ModelSpec, embeddings: Sequence[Sequence[float]]) -> F32:
    """Return embeddings that a client sent as unit vectors, float32 [N, D] (InvalidRequest)."""
    expected = f"An embedding of {model.name} has {model.dimension} finite numbers, not all zero"
    if any(len(embedding) != model.dimension for embedding in embeddings):
        wrong = next(len(e) for e in embeddings if len(e) != model.dimension)
        raise InvalidRequest(f"{expected}; one with {wrong} was sent.")
    matrix = np.asarray(embeddings, np.float64)
    if not np.isfinite(matrix).all():
        raise InvalidRequest(f"{expected}; one holds a value that is not finite.")
    # Dividing by the largest value first keeps the length of huge and of tiny vectors finite.
    peaks = np.abs(matrix).max(axis=1, keepdims=True)
    if not peaks.all():
        raise InvalidRequest(f"{expected}; one is all zero.")
    matrix /= peaks
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix.astype(np.float32)
