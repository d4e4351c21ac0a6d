"""What Prometheus is told: requests, faces, queues, indexes, model runs; no key, name or path.

Whichever process of a server is asked tells of all of them.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from knownface.api.ledger import Cells, Key, Ledger, Page

# From one cached read to a picture full of faces on a busy machine.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RUN_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_BATCHES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

_STARTED: Final = "process_start_time_seconds"
_PROCESSOR_TIME: Final = "process_cpu_seconds"


class Metrics:
    """The metrics of one App; every method may be called from any thread.

    `depths` gives the items that wait for each model, `sizes` the faces in each index that has been
    built, by service id. Where several processes serve, `page` is this one's.
    """

    def __init__(
        self,
        depths: Callable[[], Mapping[str, int]],
        sizes: Callable[[], Mapping[int, int]],
        page: Page | None = None,
    ) -> None:
        page = self._page = page or Ledger().page()
        self._depths, self._sizes = depths, sizes
        by_route = ("route", "method")
        self._requests = _Counter(
            page, "knownface_requests", "Answers sent.", (*by_route, "status")
        )
        self._latency = _Histogram(
            page,
            "knownface_request_seconds",
            "From the first byte of a request to the last of its answer.",
            by_route,
            _SECONDS,
        )
        self._faces = _Counter(page, "knownface_faces", "Faces in answers.", ("route",))
        self._running = _Gauge(page, "knownface_requests_in_flight", "Requests being served.")
        self._run_seconds = _Histogram(
            page,
            "knownface_model_run_seconds",
            "Duration of one run of a model.",
            ("model",),
            _RUN_SECONDS,
        )
        self._run_items = _Histogram(
            page, "knownface_model_batch_size", "Items in one run of a model.", ("model",), _BATCHES
        )
        self._failures = _Counter(
            page,
            "knownface_plugin_failures",
            "Faces whose answer lacks an attribute because its plugin failed.",
            ("plugin",),
        )
        self._queued = _Histogram(
            page,
            "knownface_model_queued_seconds",
            "How long the first item of a run waited for it.",
            ("model",),
            _SECONDS,
        )
        self._depth = _Gauge(
            page, "knownface_model_queue_depth", "Items waiting for a model.", ("model",)
        )
        # Each process has an index of its own of the same faces.
        self._index = _Gauge(
            page, "knownface_index_faces", "Faces in a built index.", ("service",), together=max
        )
        self._registry = CollectorRegistry(auto_describe=True)
        self._registry.register(_Processes(page.ledger))
        self._registry.register(
            _Rows(page.ledger, [one for one in vars(self).values() if isinstance(one, _Family)])
        )
        # A process that died here left what held at that moment.
        with page.lock:
            for gauge in (self._running, self._depth, self._index):
                gauge.be({})

    def begin(self) -> None:
        """Count a request as being served."""
        with self._page.lock:
            self._running.add((), 1)

    def end(self, route: str, method: str, status: int, seconds: float, faces: int) -> None:
        """Count a request that is over; `route` is a template, as `/api/v1/static/{key}`."""
        with self._page.lock:
            self._running.add((), -1)
            self._requests.add((route, method, str(status)))
            self._latency.observe((route, method), seconds)
            if faces:
                self._faces.add((route,), faces)

    def run(self, model: str, batch: int, seconds: float, queued: float) -> None:
        """Count one run of a model; this is what a Scheduler's `on_run` is."""
        named = (model,)
        with self._page.lock:
            self._run_seconds.observe(named, seconds)
            self._run_items.observe(named, batch)
            self._queued.observe(named, queued)

    def plugin_failure(self, plugin: str, faces: int) -> None:
        """Count the faces a plugin failed on; this is what a Pipeline's `on_failure` is."""
        with self._page.lock:
            self._failures.add((plugin,), faces)

    @property
    def shared(self) -> bool:
        """Whether other processes tell of this one."""
        return self._page.ledger.pages > 1

    def publish(self) -> None:
        """Let the other processes know how long the queues and how large the indexes are."""
        depths: dict[Key, float] = {(model,): depth for model, depth in self._depths().items()}
        sizes: dict[Key, float] = {(str(service),): size for service, size in self._sizes().items()}
        with self._page.lock:
            self._depth.be(depths)
            self._index.be(sizes)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format 0.0.4, about all processes."""
        self.publish()
        return generate_latest(self._registry)


class _Family(ABC):
    """Rows of one name that differ in their labels."""

    def __init__(self, page: Page, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._page = page
        self._rows: dict[Key, Cells] = {}

    def _row(self, labels: Key, cells: int = 1) -> Cells:
        found = self._rows.get(labels)
        if found is None:
            found = self._rows[labels] = self._page.row((self.name, *labels), cells)
        return found

    @abstractmethod
    def told(self, rows: Mapping[Key, Sequence[Cells]]) -> Metric:
        """Return what Prometheus is told of these rows, one of each process, by their labels."""


class _Counter(_Family):
    def add(self, labels: Key, by: float = 1) -> None:
        self._row(labels)[0] += by

    def told(self, rows: Mapping[Key, Sequence[Cells]]) -> Metric:
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, cells in rows.items():
            family.add_metric(labels, sum(one[0] for one in cells))
        return family


class _Histogram(_Family):
    """Rows of a sum, and of how many values belong to each bucket and to no smaller one."""

    def __init__(
        self, page: Page, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        super().__init__(page, name, text, labels)
        self._bounds = bounds
        self._buckets = [*map(str, bounds), "+Inf"]

    def observe(self, labels: Key, value: float) -> None:
        row = self._row(labels, 1 + len(self._buckets))
        row[0] += value
        row[1 + bisect_left(self._bounds, value)] += 1

    def told(self, rows: Mapping[Key, Sequence[Cells]]) -> Metric:
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for labels, cells in rows.items():
            total, *counts = map(sum, zip(*cells, strict=True))
            buckets = list(zip(self._buckets, accumulate(counts), strict=True))
            family.add_metric(labels, buckets, total)
        return family


class _Gauge(_Family):
    """Rows of what holds now, not a number where there is nothing to be told."""

    def __init__(
        self,
        page: Page,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        together: Callable[[Iterable[float]], float] = sum,
    ) -> None:
        super().__init__(page, name, text, labels)
        self._together = together
        self._rows = page.rows(name)

    def add(self, labels: Key, by: float) -> None:
        self._row(labels)[0] += by

    def be(self, values: Mapping[Key, float]) -> None:
        """Take these values; there are no others any more."""
        for labels, row in self._rows.items():
            if labels not in values:
                row[0] = math.nan if labels else 0.0
        for labels, value in values.items():
            self._row(labels)[0] = value

    def told(self, rows: Mapping[Key, Sequence[Cells]]) -> Metric:
        family = GaugeMetricFamily(self.name, self.text, labels=self.labels)
        for labels, cells in rows.items():
            if known := [one[0] for one in cells if not math.isnan(one[0])]:
                family.add_metric(labels, self._together(known))
        return family


class _Rows(Collector):
    """Tells of every family what all processes have counted together."""

    def __init__(self, ledger: Ledger, families: Sequence[_Family]) -> None:
        self._ledger = ledger
        self._families = families

    def collect(self) -> Iterator[Metric]:
        found: defaultdict[str, defaultdict[Key, list[Cells]]]
        found = defaultdict(lambda: defaultdict(list))
        for (name, *labels), cells in self._ledger.rows():
            found[name][tuple(labels)].append(cells)
        for family in self._families:
            yield family.told(found[family.name])


class _Processes(Collector):
    """Memory, files and processor time of all processes of a server; only Linux tells of them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterable[Metric]:
        while True:
            gone = _seconds_of_the_gone(self._ledger.maker)
            families = self._summed()
            # Somebody may have gone meanwhile, and would count twice, or not at all.
            if gone == _seconds_of_the_gone(self._ledger.maker):
                break
        for family in families:
            if family.name == _PROCESSOR_TIME:
                family.samples = [one._replace(value=one.value + gone) for one in family.samples]
        return families

    def _summed(self) -> list[Metric]:
        summed: dict[str, Metric] = {}
        for process in {self._ledger.maker, *self._ledger.processes()}:
            for family in ProcessCollector(pid=partial(int, process), registry=None).collect():
                known = summed.setdefault(family.name, family)
                if known is not family:
                    together = min if family.name == _STARTED else sum
                    known.samples = [
                        one._replace(value=together((one.value, other.value)))
                        for one, other in zip(known.samples, family.samples, strict=True)
                    ]
        return list(summed.values())


def _seconds_of_the_gone(process: int) -> float:
    """Return the processor time of the children of a process that have ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
        return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0
