"""The nouns of the program: frozen values that every layer may pass on. No I/O happens here.

Coordinates are pixels of the *upright* picture (its EXIF orientation already applied), x to the
right, y down.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from datetime import datetime

U8 = NDArray[np.uint8]
I8 = NDArray[np.int8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


class ServiceType(enum.StrEnum):
    """What an API key may be used for, in the words of the command line and the database."""

    RECOGNITION = "recognition"
    DETECTION = "detection"
    VERIFICATION = "verification"


@dataclass(frozen=True, slots=True)
class Image:
    """An upright picture: `pixels` is uint8 [h, w, 3] in RGB order, C-contiguous.

    A large one may have been read with fewer pixels than it has: then `size` is its own (width,
    height), and `whole` reads it once more with all of them. Coordinates always refer to `width`
    and `height`; `pixels` and they differ by `factor`.
    """

    pixels: U8
    size: tuple[int, int] | None = None
    whole: Callable[[], Image] | None = None

    @property
    def width(self) -> int:
        return self.size[0] if self.size else int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return self.size[1] if self.size else int(self.pixels.shape[0])

    @property
    def factor(self) -> tuple[float, float]:
        """How many of the pixels that were read there are to one of the picture, in x and y."""
        height, width = self.pixels.shape[:2]
        return width / self.width, height / self.height


@dataclass(frozen=True, slots=True)
class Box:
    """A face's bounding box, clipped to the picture; `probability` is calibrated, in 0..1."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float
    probability: float

    @property
    def width(self) -> float:
        return self.x_max - self.x_min

    @property
    def height(self) -> float:
        return self.y_max - self.y_min

    @property
    def area(self) -> float:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Calibration:
    """A model's curve from distance to similarity, as CompreFace's: (tanh((c0 - d) c1) + 1) / 2."""

    c0: float
    c1: float

    def similarity(self, cosine: float) -> float:
        """Return the similarity, in 0..1, of two unit vectors whose cosine this is."""
        distance = math.sqrt(max(0.0, 2.0 - 2.0 * cosine))
        return (math.tanh((self.c0 - distance) * self.c1) + 1.0) / 2.0


@dataclass(frozen=True, slots=True)
class FalseMatchRates:
    """How many of a model's comparisons of two strangers reach a similarity: (similarity, rate).

    From row to row the similarity rises and the rate falls, else ValueError. Between them, and from
    (0, 1) to the first row, the logarithm of the rate is linear. Beyond the last row nothing was
    measured, and no smaller rate is claimed than its.
    """

    rows: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.rows or not all(
            s < t <= 1 and p > q > 0 for (s, p), (t, q) in pairwise(self._knots)
        ):
            raise ValueError("similarities must rise, above 0, while their rates fall, below 1")

    @property
    def least(self) -> float:
        """The smallest rate that was measured."""
        return self.rows[-1][1]

    def rate(self, similarity: float) -> float:
        """Return the share of strangers who reach this similarity; `least` where few are left."""
        for (start, above), (end, below) in pairwise(self._knots):
            if similarity < end:
                share = (max(0.0, similarity) - start) / (end - start)
                return max(below, above * math.pow(below / above, share))
        return self.least

    def similarity(self, rate: float) -> float:
        """Return the similarity that this share of strangers reaches; ValueError below `least`."""
        for (start, above), (end, below) in pairwise(self._knots):
            if rate > below:
                share = math.log(min(1.0, rate) / above) / math.log(below / above)
                return start + (end - start) * share
        if rate < self.least:
            raise ValueError(f"no similarity is known to be reached by so few as {rate:g}")
        return self.rows[-1][0]

    @property
    def _knots(self) -> tuple[tuple[float, float], ...]:
        return ((0.0, 1.0), *self.rows)


@dataclass(frozen=True, slots=True)
class Threshold:
    """From when on a subject is recognised: one of a least similarity and a false match rate.

    `similarity` lies in 0..1, `max_fmr` above 0 and up to 1; ValueError for another, both or none.
    """

    similarity: float | None = None
    max_fmr: float | None = None

    def __post_init__(self) -> None:
        if (self.similarity is None) == (self.max_fmr is None):
            raise ValueError("a threshold is either a similarity or a false match rate")
        if self.similarity is not None and not 0 <= self.similarity <= 1:
            raise ValueError("a similarity lies between 0 and 1")
        if self.max_fmr is not None and not 0 < self.max_fmr <= 1:
            raise ValueError("a false match rate lies above 0 and is 1 at most")


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A face as a unit vector, float32 [D], together with the name of the model that made it."""

    vector: F32
    model: str


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face of one picture.

    `landmarks` is float32 [5, 2] (image-left eye, image-right eye, nose tip, image-left and
    image-right mouth corner) or None where no detector ran. `attributes` holds what each plugin
    found, `ms` the milliseconds that the detector and each plugin took, both by slug.
    """

    box: Box
    landmarks: F32 | None = None
    embedding: Embedding | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)
    ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Application:
    """A tenant: a named group of services."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Service:
    """What an API key opens: a face collection, or one stateless use (detection, verification).

    Subjects that do not reach the `threshold` of a collection are unknown, unless a request says
    otherwise; without one the most similar subject is always named. `embedder` names the model
    that tells its faces apart, None where that is the server's.
    """

    id: int
    application: str
    name: str
    type: ServiceType
    threshold: Threshold | None = None
    embedder: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A known person (or whatever else its owner files faces under)."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Example:
    """One known face of a subject: `key` is its number in indexes, `image_id` its public name."""

    key: int
    image_id: UUID
    subject: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An example that got no embedding of a model, and why."""

    example: Example
    reason: str


class ReembeddingState(enum.StrEnum):
    """How a change of embedder stands, in the words of the command line and the database."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Reembedding:
    """A service's way to the embeddings of another model: `done` of `total` examples are through.

    `working` says whether some process is at it; `unclean`, that vectors which nobody compares any
    more are still to be removed.
    """

    service_id: int
    model: str
    state: ReembeddingState
    done: int
    total: int
    working: bool
    unclean: bool
    failure: str | None = None
    queued_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Photograph:
    """The bytes an example was made from, exactly as they were sent, and their media type."""

    content: bytes
    media_type: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of examples, oldest first, and how many there are in all."""

    examples: tuple[Example, ...]
    number: int
    size: int
    total: int


@dataclass(frozen=True, slots=True)
class Match:
    """A subject that resembles a face, by its best example."""

    subject: str
    image_id: UUID
    cosine: float
    similarity: float
