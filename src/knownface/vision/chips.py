"""dlib's classifiers, and chips: the crops that they were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from knownface.errors import ConfigurationError
from knownface.imaging import resize, similarity_transform, warp_smoothly
from knownface.types import F32, U8, Face, Image
from knownface.vision.catalog import ModelSpec
from knownface.vision.plugins import Run
from knownface.vision.tensors import to_tensor

# Where dlib's mean face has the middles of the eyes, the tip of the nose and the corners of the
# mouth (image-left first), its own box being 0 to 1, and how much a chip shows around that box.
_MEAN_FACE: Final = np.array(
    [
        [0.2255, 0.2160],
        [0.7548, 0.2160],
        [0.4901, 0.5156],
        [0.2541, 0.7802],
        [0.7261, 0.7802],
    ],
    np.float32,
)
_PADDING: Final = 0.2


class DlibModel:
    """A network that gives the probability of each of its answers for a chip."""

    def __init__(self, spec: ModelSpec) -> None:
        if spec.size is None:
            raise ConfigurationError(f"The model {spec.name} needs a size.")
        self.spec = spec
        self._size = spec.size[0]

    def probabilities(self, image: Image, faces: Sequence[Face], run: Run) -> list[F32]:
        """Return the probabilities of each face, float32 [answers].

        They are the mean over the face and its mirror image, which looks as old and as male.
        """
        chips = [chip(image, face, self._size) for face in faces]
        tensors = [to_tensor(view, self.spec) for one in chips for view in (one, one[:, ::-1])]
        rows = [outputs[0].reshape(-1) for outputs in run(self.spec.name, tensors)]
        pairs = zip(rows[::2], rows[1::2], strict=True)
        return [np.mean(pair, axis=0, dtype=np.float32) for pair in pairs]


def chip(image: Image, face: Face, size: int) -> U8:
    """Return the face upright as dlib would cut it out, uint8 [size, size, 3] RGB.

    Without landmarks the whole picture is taken for such a crop.
    """
    if face.landmarks is None:
        return resize(image, size, size).pixels
    template = (_MEAN_FACE + _PADDING) / (1 + 2 * _PADDING) * size
    return warp_smoothly(image, similarity_transform(face.landmarks, template), size)
