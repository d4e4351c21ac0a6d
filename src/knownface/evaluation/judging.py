"""What the pipeline sees in pictures: many at a time, each as the server would see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from knownface.errors import PayloadTooLarge, UnreadableImage
from knownface.imaging import Decoder
from knownface.types import Box, Face, Image
from knownface.vision.pipeline import Pipeline

T = TypeVar("T")
R = TypeVar("R")

# progress(stage, done, total)
Progress = Callable[[str, int, int], None]

# What a picture is to blame for, not the program: a row to report and skip.
UNREADABLE: Final = (UnreadableImage, PayloadTooLarge)
# From this overlap on, a detected face is the one that a label means.
SAME_FACE: Final = 0.3


class Judge:
    """The pipeline, the decoder and the threads that all measurements share."""

    def __init__(
        self, pipeline: Pipeline, decoder: Decoder, progress: Progress, workers: int
    ) -> None:
        self.pipeline = pipeline
        self._decoder = decoder
        self._progress = progress
        self._workers = workers

    @property
    def runtime(self) -> str:
        """What runs the embedder, and in which precision: figures may differ in the last digit."""
        return self.pipeline.networks[self.pipeline.embedder.name].runtime

    def map(self, stage: str, items: Sequence[T], work: Callable[[T], R]) -> list[R]:
        """Return `work` of each item, in their order, and tell the progress of this stage.

        What `work` raises ends the whole: nothing is left out unseen.
        """
        results: list[R] = []
        self._progress(stage, 0, len(items))
        pool = ThreadPoolExecutor(max(1, self._workers), thread_name_prefix="judge")
        try:
            for result in pool.map(work, items):
                results.append(result)
                self._progress(stage, len(results), len(items))
        finally:
            pool.shutdown(cancel_futures=True)
        return results

    def image(self, path: Path) -> Image:
        """Return the picture of a file; one of UNREADABLE where there is none to be had."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UnreadableImage(f"The file cannot be read: {error.strerror}.") from error
        return self._decoder.decode(data)

    def central_face(self, image: Image, det_prob_threshold: float | None = None) -> Face | None:
        """Return the face nearest to the middle: people centre whom they photograph."""
        faces = self.pipeline.detect(image, det_prob_threshold)
        x, y = image.width / 2, image.height / 2

        def distance(face: Face) -> float:
            box = face.box
            return abs((box.x_min + box.x_max) / 2 - x) + abs((box.y_min + box.y_max) / 2 - y)

        return min(faces, key=distance, default=None)

    def face_at(self, image: Image, box: Box | None) -> tuple[Face, bool]:
        """Return the detected face that a label means, and whether there is one.

        Else the labelled box is the face, without landmarks; without a box the central face is
        meant, and the whole picture where none is found.
        """
        if box is None:
            whole = Box(0.0, 0.0, float(image.width), float(image.height), 1.0)
            central = self.central_face(image)
            return (central, True) if central else (Face(whole), False)
        faces = self.pipeline.detect(image)
        best = max(faces, key=lambda face: overlap(face.box, box), default=None)
        if best is not None and overlap(best.box, box) >= SAME_FACE:
            return best, True
        return Face(replace(box, probability=0.0)), False

    def describe(self, image: Image, face: Face, plugins: Collection[str]) -> Face:
        """Return the face with what the plugins of these slugs say of it."""
        return self.pipeline.describe(image, [face], plugins)[0]


def overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes share, in parts of the area that they cover together."""
    width = min(a.x_max, b.x_max) - max(a.x_min, b.x_min)
    height = min(a.y_max, b.y_max) - max(a.y_min, b.y_min)
    shared = max(0.0, width) * max(0.0, height)
    union = a.area + b.area - shared
    return shared / union if union > 0 else 0.0


def padded(image: Image, share: float) -> tuple[Image, tuple[int, int]]:
    """Return the picture with black around it, and where in that its corner (x, y) lies."""
    y, x = (int(side * share) for side in (image.height, image.width))
    if not x and not y:
        return image, (0, 0)
    return Image(np.pad(image.pixels, ((y, y), (x, x), (0, 0)))), (x, y)
