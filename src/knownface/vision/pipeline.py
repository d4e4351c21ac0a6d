"""The only door to vision: a picture goes in, Faces with what was asked of them come out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, cast

import numpy as np

from knownface.errors import ConfigurationError, ModelUnavailable, Unavailable
from knownface.types import F32, Box, Calibration, Embedding, Face, Image
from knownface.vision.catalog import Catalog, ModelSpec
from knownface.vision.detectors import Detections, create_detector
from knownface.vision.plugins import Plugin, PluginContext, Value, load_plugin, load_plugins
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network

log = logging.getLogger(__name__)

CALCULATOR: Final = "calculator"
# Pixels of a face's longer side: the crop of 192 for the mesh shows 1.35 times the face, and the
# aligned one of 112 a little more than it.
ENOUGH: Final = 160

# Stands for the value of a plugin that failed; None is one that had nothing to say.
_FAILED: Final = object()


class Pipeline:
    """Detector, embedders and plugins around one Scheduler.

    `embedder` is used where a call names none; others are opened when they are first named.
    Holds no state of a request, so any number of threads may call `analyze` at once.
    `on_failure(slug, faces)` is told of each plugin that failed, and on how many faces. `models`
    are the models that plugins are to run, by slug; the others run their usual ones.
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
        models: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.scheduler = scheduler
        self._catalog = catalog
        self._open_network = open_network
        self._opening = threading.Lock()
        self.on_failure: Callable[[str, int], None] | None = None
        self._detector = create_detector(catalog.pick(detector, "detector"))
        self._max_detect_size = max_detect_size
        self.det_prob_threshold = det_prob_threshold
        self.embedder: ModelSpec = catalog.pick(embedder, "embedder")
        self._context = PluginContext(catalog, self.embedder, models)
        self.plugins: Mapping[str, Plugin] = load_plugins(self._context)
        names = {self.detector.name, *(name for p in self.plugins.values() for name in p.models)}
        self.networks: dict[str, Network] = {
            name: open_network(catalog.spec(name)) for name in sorted(names)
        }
        self._calculators: dict[str, Plugin] = {}  # those of other embedders
        for network in self.networks.values():
            scheduler.register(network)

    @property
    def detector(self) -> ModelSpec:
        return self._detector.spec

    @property
    def calibration(self) -> Calibration:
        """How the embedder's distances become similarities."""
        return calibration_of(self.embedder)

    def embedder_named(self, name: str | None) -> ModelSpec:
        """Return an embedder, None for the usual one; ModelUnavailable when there is none such."""
        if name is None or name == self.embedder.name:
            return self.embedder
        try:
            spec = self._catalog.spec(name)
        except ConfigurationError:
            spec = None
        if spec is None or spec.task != "embedder":
            raise ModelUnavailable(
                f"There is no embedder {name} here, which the service goes by or changes to: put "
                "it into the models folder and start the server anew, or change the service to "
                "another with `knownface reembed`."
            )
        return spec

    def open_embedder(self, name: str) -> Network:
        """Return the network of an embedder, which its first run loads; ModelUnavailable."""
        self._calculator(name)
        return self.networks[name]

    def unload_embedders(self, in_use: Collection[str]) -> None:
        """Give the memory of all other embedders back; should one be named again, it is loaded."""
        for name in self._calculators.keys() - set(in_use):
            if self.networks[name].state == "ready":
                self.networks[name].unload()

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
        embedder: str | None = None,
        deadline: float | None = None,
    ) -> list[Face]:
        """Return the faces, largest first, cut to `limit` (0 = all), with what `plugins` say.

        Without `detect` the whole picture is one face. `embedder` is whose embeddings are wanted.
        """
        turn = self.scheduler.turn()
        faces = (
            self.detect(image, det_prob_threshold, deadline=deadline, turn=turn)
            if detect
            else [Face(Box(0.0, 0.0, float(image.width), float(image.height), 1.0))]
        )
        wanted = faces[: limit or None]
        if plugins and image.whole and any(_is_small(face.box, image) for face in wanted):
            image = image.whole()
        return self.describe(
            image, wanted, plugins, embedder=embedder, deadline=deadline, turn=turn
        )

    @property
    def least_pixels(self) -> int:
        """How many pixels the longer side of a large picture needs to be read with, 0 for all.

        Twice what the detector looks at: with less, most faces would need all of them after all.
        """
        return 2 * self._max_detect_size

    def detect(
        self,
        image: Image,
        det_prob_threshold: float | None = None,
        *,
        deadline: float | None = None,
        turn: int | None = None,
    ) -> list[Face]:
        """Return every face more probable than the threshold (None: the default), largest first.

        `turn` is the picture's, of the scheduler, for one that is to be described, too.
        """
        threshold = self.det_prob_threshold if det_prob_threshold is None else det_prob_threshold
        started = time.perf_counter()
        tensor, scale = self._detector.prepare(image, self._max_detect_size)
        outputs = self.scheduler.run(self.detector.name, [tensor], deadline, turn=turn)[0]
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
        embedder: str | None = None,
        deadline: float | None = None,
        turn: int | None = None,
    ) -> list[Face]:
        """Return these faces with what the plugins of these slugs find; unknown ones are ignored.

        A plugin that fails on a face is logged, counted and its attribute left out there; a failing
        calculator raises.
        """
        described, run = list(faces), _Run(self.scheduler, deadline, turn)
        asked = self._asked(plugins, embedder)
        # The timed ones first: work that several share is then told of.
        for plugin in sorted(asked, key=lambda plugin: not plugin.timed):
            if described:
                described = self._apply(plugin, image, described, run)
        return described

    def versions(self, plugins: Collection[str], embedder: str | None = None) -> dict[str, str]:
        """Return the versions of the detector and of these timed plugins, by slug."""
        timed = (plugin for plugin in self._asked(plugins, embedder) if plugin.timed)
        return {"detector": self.detector.version} | {p.slug: p.version for p in timed}

    def _asked(self, slugs: Collection[str], embedder: str | None) -> list[Plugin]:
        return [
            self._calculator(embedder) if slug == CALCULATOR else self.plugins[slug]
            for slug in slugs
            if slug in self.plugins
        ]

    def _calculator(self, embedder: str | None) -> Plugin:
        """Return the plugin that makes the embeddings of a model, whose network is then open."""
        spec = self.embedder_named(embedder)
        if spec is self.embedder:
            return self.plugins[CALCULATOR]
        with self._opening:
            if spec.name not in self._calculators:
                plugin = load_plugin(CALCULATOR, replace(self._context, embedder=spec))
                network = self._open_network(spec)
                network.path = self._catalog.path(spec) or network.path
                self.scheduler.register(network)
                self.networks = {**self.networks, spec.name: network}
                self._calculators[spec.name] = plugin
            return self._calculators[spec.name]

    def _apply(self, plugin: Plugin, image: Image, faces: Sequence[Face], run: _Run) -> list[Face]:
        started = time.perf_counter()
        values = self._values(plugin, image, faces, run)
        share = _milliseconds(started) / len(faces)
        return [
            face if value is _FAILED else _with(face, plugin, value, share)
            for face, value in zip(faces, values, strict=True)
        ]

    def _values(
        self, plugin: Plugin, image: Image, faces: Sequence[Face], run: _Run
    ) -> list[object]:
        """Return what the plugin says of each face, or that it failed on that one."""
        try:
            values = list(plugin(image, faces, run))
            if len(values) != len(faces):
                raise ValueError(f"{len(values)} values for {len(faces)} faces")
        except Exception as error:
            # Nothing works without embeddings; an age that fails must not cost the name.
            if plugin.slug == CALCULATOR or _concerns_the_request(error):
                raise
            if isinstance(error, ModelUnavailable):
                reason = {"plugin": plugin.slug, "reason": error.message}
                log.warning("plugin has no model", extra=reason)
            elif len(faces) > 1:  # nor must one face cost the others theirs
                return [v for face in faces for v in self._values(plugin, image, [face], run)]
            else:
                log.exception("plugin failed", extra={"plugin": plugin.slug})
            if self.on_failure:
                self.on_failure(plugin.slug, len(faces))
            return [_FAILED] * len(faces)
        return values


def calibration_of(embedder: ModelSpec) -> Calibration:
    """Return how an embedder's distances become similarities."""
    if embedder.calibration is None:  # the catalogue refuses such an embedder
        raise ConfigurationError(f"Model {embedder.name} has no calibration.")
    return embedder.calibration


class _Run:
    """The models for the plugins of one picture, and what these share until it is described."""

    def __init__(self, scheduler: Scheduler, deadline: float | None, turn: int | None) -> None:
        self._scheduler = scheduler
        self._turn = turn
        self._deadline = deadline
        self._kept: dict[tuple[str, Box, bytes], object] = {}

    def __call__(self, model: str, items: Sequence[F32]) -> list[tuple[F32, ...]]:
        return self._scheduler.run(model, items, self._deadline, turn=self._turn)

    def once(
        self, name: str, faces: Sequence[Face], compute: Callable[[Sequence[Face]], Sequence[Value]]
    ) -> list[Value]:
        # A face is told by where it is: each plugin gets a new object with more attributes.
        keys = [
            (name, face.box, b"" if face.landmarks is None else face.landmarks.tobytes())
            for face in faces
        ]
        lacking = {k: f for k, f in zip(keys, faces, strict=True) if k not in self._kept}
        if lacking:
            self._kept |= zip(lacking, compute(list(lacking.values())), strict=True)
        return [cast("Value", self._kept[key]) for key in keys]


def _is_small(box: Box, image: Image) -> bool:
    """Tell whether a face was read with fewer pixels than the crops of it have."""
    x, y = image.factor
    return max(box.width * x, box.height * y) < ENOUGH


def _concerns_the_request(error: Exception) -> bool:
    """Tell whether the request as a whole cannot be served: too late, too busy, or stopping."""
    return isinstance(error, Unavailable) and not isinstance(error, ModelUnavailable)


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
