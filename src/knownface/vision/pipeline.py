"""The only door to vision: a picture goes in, Faces with what was asked of them come out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from knownface.errors import ConfigurationError, DeadlineExceeded, Overloaded
from knownface.types import F32, Box, Calibration, Embedding, Face, Image
from knownface.vision.catalog import Catalog, ModelSpec
from knownface.vision.detectors import Detections, create_detector
from knownface.vision.plugins import Plugin, PluginContext, load_plugins
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network

log = logging.getLogger(__name__)

CALCULATOR: Final = "calculator"


class Pipeline:
    """Detector, embedder and plugins around one Scheduler.

    Holds no state of a request, so any number of threads may call `analyze` at once.
    """

    def __init__(
        self,
        catalog: Catalog,
        scheduler: Scheduler,
        *,
        detector: str,
        embedder: str,
        max_detect_size: int,
        det_prob_threshold: float,
        open_network: Callable[[ModelSpec], Network],
    ) -> None:
        self.scheduler = scheduler
        self._detector = create_detector(catalog.spec(detector))
        self._max_detect_size = max_detect_size
        self._threshold = det_prob_threshold
        self.embedder: ModelSpec = catalog.spec(embedder)
        self.plugins: Mapping[str, Plugin] = load_plugins(PluginContext(catalog, self.embedder))
        names = {detector, *(name for p in self.plugins.values() for name in p.models)}
        self.networks: Mapping[str, Network] = {
            name: open_network(catalog.spec(name)) for name in sorted(names)
        }
        for network in self.networks.values():
            scheduler.register(network)

    @property
    def detector(self) -> ModelSpec:
        return self._detector.spec

    @property
    def calibration(self) -> Calibration:
        """How the embedder's distances become similarities."""
        if self.embedder.calibration is None:  # the catalogue refuses such an embedder
            raise ConfigurationError(f"Model {self.embedder.name} has no calibration.")
        return self.embedder.calibration

    @property
    def required(self) -> list[Network]:
        """The networks without which no request can be served."""
        return [self.networks[self.detector.name], self.networks[self.embedder.name]]

    def probe(self) -> None:
        """Run every required model once on an empty picture; raises what a request would see."""
        blank = Image(np.zeros((112, 112, 3), np.uint8))
        self.detect(blank)
        self.analyze(blank, plugins=(CALCULATOR,), detect=False)

    def analyze(
        self,
        image: Image,
        *,
        plugins: Collection[str] = (),
        det_prob_threshold: float | None = None,
        limit: int = 0,
        detect: bool = True,
        deadline: float | None = None,
    ) -> list[Face]:
        """Return the faces, largest first, cut to `limit` (0 = all), with what `plugins` say.

        Without `detect` the whole picture is one face.
        """
        faces = (
            self.detect(image, det_prob_threshold, deadline=deadline)
            if detect
            else [Face(Box(0.0, 0.0, float(image.width), float(image.height), 1.0))]
        )
        return self.describe(image, faces[: limit or None], plugins, deadline=deadline)

    def detect(
        self,
        image: Image,
        det_prob_threshold: float | None = None,
        *,
        deadline: float | None = None,
    ) -> list[Face]:
        """Return every face more probable than the threshold (None: the default), largest first."""
        threshold = self._threshold if det_prob_threshold is None else det_prob_threshold
        started = time.perf_counter()
        tensor, scale = self._detector.prepare(image, self._max_detect_size)
        outputs = self.scheduler.run(self.detector.name, [tensor], deadline)[0]
        found = self._detector.decode(outputs, tensor, scale)
        probabilities = self._detector.probability(found.scores)
        faces = _faces(found, probabilities, threshold, image)
        share = _milliseconds(started) / max(1, len(faces))
        return [replace(face, ms={"detector": share}) for face in faces]

    def describe(
        self,
        image: Image,
        faces: Sequence[Face],
        plugins: Collection[str],
        *,
        deadline: float | None = None,
    ) -> list[Face]:
        """Return these faces with what the plugins of these slugs find; unknown ones are ignored.

        A failing plugin is logged and its attribute left out; a failing calculator raises.
        """
        described = list(faces)
        for slug in plugins:
            if slug in self.plugins and described:
                described = self._apply(self.plugins[slug], image, described, deadline)
        return described

    def versions(self, plugins: Collection[str]) -> dict[str, str]:
        """Return the versions of the detector and of these timed plugins, by slug."""
        timed = (self.plugins[s] for s in plugins if s in self.plugins and self.plugins[s].timed)
        return {"detector": self.detector.version} | {p.slug: p.version for p in timed}

    def _apply(
        self, plugin: Plugin, image: Image, faces: Sequence[Face], deadline: float | None
    ) -> list[Face]:
        def run(model: str, items: Sequence[F32]) -> list[tuple[F32, ...]]:
            return self.scheduler.run(model, items, deadline)

        started = time.perf_counter()
        try:
            values = plugin(image, faces, run)
        except Exception as error:
            # Nothing works without embeddings; an age that fails must not cost the name.
            if plugin.slug == CALCULATOR or isinstance(error, (DeadlineExceeded, Overloaded)):
                raise
            log.exception("plugin failed", extra={"plugin": plugin.slug})
            return list(faces)
        share = _milliseconds(started) / len(faces)
        return [
            _with(face, plugin, value, share) for face, value in zip(faces, values, strict=True)
        ]


def _with(face: Face, plugin: Plugin, value: object, ms: float) -> Face:
    times = {**face.ms, plugin.slug: ms} if plugin.timed else face.ms
    if value is None:
        return replace(face, ms=times)
    embedding = value if isinstance(value, Embedding) else face.embedding
    attribute = value.vector if isinstance(value, Embedding) else value
    attributes = {**face.attributes, plugin.slug: attribute}
    return replace(face, embedding=embedding, attributes=attributes, ms=times)


def _faces(found: Detections, probabilities: F32, threshold: float, image: Image) -> list[Face]:
    edge = np.array([image.width, image.height, image.width, image.height], np.float32)
    faces = []
    for corners, points, probability in zip(
        np.clip(found.boxes, 0, edge), found.landmarks, probabilities, strict=True
    ):
        left, top, right, bottom = corners.tolist()
        if probability > threshold and right - left >= 1 and bottom - top >= 1:
            box = Box(left, top, right, bottom, float(probability))
            faces.append(Face(box, landmarks=points))
    return sorted(faces, key=lambda face: -face.box.area)


def _milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1000
