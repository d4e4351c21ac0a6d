"""`calculator`: the face's embedding, the vector that recognition compares."""

from __future__ import annotations

from collections.abc import Sequence

from knownface.types import Embedding, Face, Image
from knownface.vision.embedders import create_embedder
from knownface.vision.plugins import PluginContext, Run


class Calculator:
    """Aligns each face, runs the embedder in use and answers unit Embeddings."""

    slug = "calculator"
    field = "embedding"
    timed = True

    def __init__(self, context: PluginContext) -> None:
        self._embedder = create_embedder(context.embedder)
        self.models: tuple[str, ...] = (context.embedder.name,)
        self.version = context.embedder.version

    def __call__(self, image: Image, faces: Sequence[Face], run: Run) -> Sequence[Embedding]:
        tensors = [self._embedder.prepare(image, face) for face in faces]
        return [self._embedder.embedding(outputs) for outputs in run(self.models[0], tensors)]
