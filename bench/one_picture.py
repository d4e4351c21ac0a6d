"""One picture through HTTP, beside the work that cannot be avoided and beside two peers.

The limit of a picture is decoding it, one run of the detector and one run of the embedder a face,
each timed alone on one thread. What the server adds is everything else: HTTP, the form, resizing,
aligning, the search among 10,000 subjects, the database, JSON.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.results import Results
from bench.scenes import Scene, scenes
from bench.serving import Server, closed_loop, filled, open_loop, percentile, serving
from knownface.imaging import Decoder, ImageLimits
from knownface.vision.catalog import Catalog
from knownface.vision.detectors import create_detector
from knownface.vision.embedders import AlignedEmbedder
from knownface.vision.pipeline import Pipeline
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network

SUBJECTS = 10_000
CLIENTS = 8
LONE = "640px-1"
CORES = len(os.sched_getaffinity(0))
ALL = ("", f"{CORES} workers")
ONE = ("_one_process", "one process")


@dataclass(frozen=True)
class Plan:
    """How long everything is measured."""

    repetitions: int
    runs: int
    seconds: float
    steady_seconds: float
    peer_pictures: int


FULL = Plan(repetitions=7, runs=30, seconds=6.0, steady_seconds=30.0, peer_pictures=20)
QUICK = Plan(repetitions=3, runs=8, seconds=2.0, steady_seconds=6.0, peer_pictures=3)


class Limit:
    """The parts of a picture's work, run alone on one thread."""

    def __init__(self, models: Path) -> None:
        catalog = Catalog.load(models)
        self._decoder = Decoder(ImageLimits())
        self._detector = create_detector(catalog.spec("yunet"))
        self._embedder = AlignedEmbedder(catalog.spec("sface"))
        self._networks, self._shared = (
            {
                name: Network(
                    catalog.spec(name), catalog.path(catalog.spec(name)), threads=1, streams=streams
                )
                for name in ("yunet", "sface")
            }
            for streams in (1, CORES)
        )
        self._scheduler = Scheduler(1)
        self._pipeline = Pipeline(
            catalog,
            self._scheduler,
            detector="yunet",
            embedder="sface",
            max_detect_size=640,
            det_prob_threshold=0.8,
            open_network=lambda spec: Network(spec, catalog.path(spec), threads=1),
        )

    def close(self) -> None:
        self._scheduler.close()

    def bare(self, scene: Scene, seconds: float) -> float:
        """Return pictures a second of threads that do these parts in turn, and nothing else."""
        image = self._decoder.decode(scene.jpeg)
        tensor, _ = self._detector.prepare(image, 640)
        crop = self._embedder.prepare(image, self._pipeline.detect(image)[0])
        over = time.perf_counter() + seconds

        def live(_: int) -> int:
            done = 0
            while time.perf_counter() < over:
                self._decoder.decode(scene.jpeg)
                self._shared["yunet"].run(tensor[None])
                for _ in range(scene.faces):
                    self._shared["sface"].run(crop[None])
                done += 1
            return done

        with ThreadPoolExecutor(CORES) as pool:
            return sum(pool.map(live, range(CORES))) / seconds

    def parts(self, scene: Scene, runs: int) -> dict[str, float]:
        """Return the median seconds of each part for one picture."""
        image = self._decoder.decode(scene.jpeg)
        tensor, _ = self._detector.prepare(image, 640)
        faces = self._pipeline.detect(image)
        assert len(faces) == scene.faces, f"{scene.name}: {len(faces)} faces were found"
        crop = self._embedder.prepare(image, faces[0])
        return {
            "decode": median_time(lambda: self._decoder.decode(scene.jpeg), runs),
            "detect": median_time(lambda: self._networks["yunet"].run(tensor[None]), runs),
            "embed": scene.faces
            * median_time(lambda: self._networks["sface"].run(crop[None]), runs),
        }


def measure(results: Results, *, models: Path, portraits: Path, quick: bool) -> None:
    """Measure everything of this page."""
    plan = QUICK if quick else FULL
    pictures = scenes(portraits)
    limit = Limit(models)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        key = filled(data, SUBJECTS)
        with serving(data, models, key) as server:
            for scene in pictures.values():  # what is slow only once
                closed_loop(server.port, server.request(scene.jpeg), 2, 0.5)
            _lone_client(results, plan, limit, server, pictures[LONE])
            rate = _many_clients(results, plan, limit, server, pictures[LONE], ONE)
            _steady(results, plan, server, pictures[LONE], rate)
            _sizes(results, plan, limit, server, pictures)
        with serving(data, models, key, workers=str(CORES)) as server:
            closed_loop(server.port, server.request(pictures[LONE].jpeg), CLIENTS, 2.0)
            rate = _many_clients(results, plan, limit, server, pictures[LONE], ALL)
    _bare(results, plan, limit, pictures[LONE])
    limit.close()
    _peers(results, plan, pictures[LONE], rate)


def _lone_client(results: Results, plan: Plan, limit: Limit, server: Server, scene: Scene) -> None:
    ratios, milliseconds = [], []
    request = server.request(scene.jpeg)
    for _ in range(plan.repetitions):
        least = sum(limit.parts(scene, plan.runs).values())
        _, times = closed_loop(server.port, request, 1, plan.seconds / 2)
        ratios.append(percentile(times, 0.5) / least)
        milliseconds.append(1000 * percentile(times, 0.5))
    results.ratio(
        "http_p50_over_limit",
        ratios,
        "median latency of a lone client over the limit on one thread; 640 px, one face",
        "≤ 1.3",
    )
    results.figure("http_p50_ms", milliseconds, "median latency of a lone client, milliseconds")


def _many_clients(
    results: Results, plan: Plan, limit: Limit, server: Server, scene: Scene, how: tuple[str, str]
) -> float:
    """Return pictures a second; `how` ends the figures' names and says how the server was run."""
    suffix, meaning = how
    ratios, rates = [], []
    request = server.request(scene.jpeg)
    for _ in range(plan.repetitions):
        least = sum(limit.parts(scene, plan.runs).values())
        rate, _ = closed_loop(server.port, request, CLIENTS, plan.seconds)
        rates.append(rate)
        ratios.append(rate * least / CORES)
    results.ratio(
        f"throughput_over_limit{suffix}",
        ratios,
        f"pictures a second with {CLIENTS} clients over cores / limit, {meaning}; "
        "the clients' work included",
        "≥ 0.85",
    )
    results.figure(
        f"pictures_per_second{suffix}",
        rates,
        f"pictures a second with {CLIENTS} clients, {meaning}",
    )
    return statistics.median(rates)


def _bare(results: Results, plan: Plan, limit: Limit, scene: Scene) -> None:
    ratios = []
    for _ in range(plan.repetitions):
        least = sum(limit.parts(scene, plan.runs).values())
        ratios.append(limit.bare(scene, plan.seconds / 2) * least / CORES)
    results.ratio(
        "bare_work_over_limit",
        ratios,
        f"the same of {CORES} threads that do the parts of the limit in turn and nothing else, "
        "without a server: what no throughput can exceed by much",
    )


def _steady(results: Results, plan: Plan, server: Server, scene: Scene, rate: float) -> None:
    request = server.request(scene.jpeg)
    ratios = []
    for seed in range(max(1, plan.repetitions // 2)):
        times = open_loop(server.port, request, 0.8 * rate, plan.steady_seconds, seed)
        ratios.append(percentile(times, 0.99) / percentile(times, 0.5))
    results.ratio(
        "p99_over_p50_at_80",
        ratios,
        "99th over 50th percentile of latency, requests at random moments, 80 % of the throughput",
        "≤ 4",
    )


def _sizes(
    results: Results, plan: Plan, limit: Limit, server: Server, pictures: dict[str, Scene]
) -> None:
    table = {}
    for name, scene in pictures.items():
        request = server.request(scene.jpeg)
        _, times = closed_loop(server.port, request, 1, plan.seconds / 2)
        parts = limit.parts(scene, plan.runs)
        table[name] = {
            "p50_ms": 1000 * percentile(times, 0.5),
            **{f"{part}_ms": 1000 * seconds for part, seconds in parts.items()},
        }
    results.details["pictures"] = table
    ratios = []
    for _ in range(plan.repetitions):
        one, eight = (
            percentile(
                closed_loop(server.port, server.request(s.jpeg), 1, plan.seconds / 2)[1], 0.5
            )
            for s in (pictures["640px-1"], pictures["640px-8"])
        )
        ratios.append(eight / one)
    results.ratio(
        "eight_faces_over_one_face",
        ratios,
        "latency of a picture with eight faces over one with one face, lone client, 640 px",
        "< 5",
    )


def _peers(results: Results, plan: Plan, scene: Scene, rate: float) -> None:
    for name, make, meaning in (
        (
            "pictures_vs_face_recognition",
            peers.face_recognition,
            f"pictures a second through HTTP, {CORES} workers, over those of face_recognition "
            f"(dlib), in its own processes, {CORES} of them",
        ),
        (
            "pictures_vs_compreface_shape",
            peers.compreface_shape,
            "the same over a pipeline of CompreFace's shape: MTCNN and FaceNet in ONNX Runtime",
        ),
    ):
        theirs = make(scene.jpeg, plan.peer_pictures, CORES)
        results.ratio(name, [rate / one for one in theirs], meaning, "≥ 10")


def median_time(work: Callable[[], object], runs: int) -> float:
    """Return the median seconds of some runs, after one that does not count."""
    work()
    return statistics.median(_timed(work, runs))


def _timed(work: Callable[[], object], runs: int) -> Sequence[float]:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return times
