"""What Prometheus is told: requests, faces, queues, indexes, model runs; no key, name or path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

# From one cached read to a picture full of faces on a busy machine.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RUN_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_BATCHES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class Metrics:
    """The metrics of one App, in a registry of its own; every method may be called from any thread.

    `depths` gives the items that wait for each model, `sizes` the faces in each index that has been
    built, by service id.
    """

    def __init__(
        self,
        depths: Callable[[], Mapping[str, int]],
        sizes: Callable[[], Mapping[int, int]],
    ) -> None:
        registry = self._registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        registry.register(_Depths(depths))
        registry.register(_Sizes(sizes))
        by_route = ("route", "method")
        self._requests = Counter(
            "knownface_requests", "Answers sent.", (*by_route, "status"), registry=registry
        )
        self._latency = Histogram(
            "knownface_request_seconds",
            "From the first byte of a request to the last of its answer.",
            by_route,
            buckets=_SECONDS,
            registry=registry,
        )
        self._faces = Counter("knownface_faces", "Faces in answers.", ("route",), registry=registry)
        self._running = Gauge(
            "knownface_requests_in_flight", "Requests being served.", registry=registry
        )
        self._run_seconds = Histogram(
            "knownface_model_run_seconds",
            "Duration of one run of a model.",
            ("model",),
            buckets=_RUN_SECONDS,
            registry=registry,
        )
        self._run_items = Histogram(
            "knownface_model_batch_size",
            "Items in one run of a model.",
            ("model",),
            buckets=_BATCHES,
            registry=registry,
        )
        self._failures = Counter(
            "knownface_plugin_failures",
            "Faces whose answer lacks an attribute because its plugin failed.",
            ("plugin",),
            registry=registry,
        )
        self._queued = Histogram(
            "knownface_model_queued_seconds",
            "How long the first item of a run waited for it.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )

    def request(self, route: str, method: str, status: int, seconds: float, faces: int) -> None:
        """Count one request; `route` is a template, as `/api/v1/recognition/faces/{image_id}`."""
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route, method).observe(seconds)
        if faces:
            self._faces.labels(route).inc(faces)

    def in_flight(self) -> AbstractContextManager[None]:
        """Count a request as being served for as long as the context lasts."""
        return self._running.track_inprogress()

    def run(self, model: str, batch: int, seconds: float, queued: float) -> None:
        """Count one run of a model; this is what a Scheduler's `on_run` is."""
        self._run_seconds.labels(model).observe(seconds)
        self._run_items.labels(model).observe(batch)
        self._queued.labels(model).observe(queued)

    def plugin_failure(self, plugin: str, faces: int) -> None:
        """Count the faces a plugin failed on; this is what a Pipeline's `on_failure` is."""
        self._failures.labels(plugin).inc(faces)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)


class _Depths(Collector):
    def __init__(self, depths: Callable[[], Mapping[str, int]]) -> None:
        self._depths = depths

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "knownface_model_queue_depth", "Items waiting for a model.", labels=("model",)
        )
        for model, depth in self._depths().items():
            family.add_metric((model,), depth)
        yield family


class _Sizes(Collector):
    def __init__(self, sizes: Callable[[], Mapping[int, int]]) -> None:
        self._sizes = sizes

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "knownface_index_faces", "Faces in a built index.", labels=("service",)
        )
        for service, size in self._sizes().items():
            family.add_metric((str(service),), size)
        yield family
