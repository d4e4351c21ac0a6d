"""What a server takes of a machine: the time until it is ready, and memory over its life."""

from __future__ import annotations

import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from bench.results import Results
from bench.scenes import scenes
from bench.serving import Client, filled, serving

STARTS, QUICK_STARTS = 7, 3
SOAK, QUICK_SOAK = 50_000, 5_000
FIRST = 50
REST_SECONDS = 12.0  # longer than the server waits before it gives memory back


def measure(results: Results, *, models: Path, portraits: Path, quick: bool) -> None:
    """Measure everything of this page."""
    _starts(results, models, QUICK_STARTS if quick else STARTS)
    _memory(results, models, portraits, QUICK_SOAK if quick else SOAK)


def _starts(results: Results, models: Path, count: int) -> None:
    seconds = []
    for _ in range(count):
        with (
            tempfile.TemporaryDirectory() as folder,
            serving(Path(folder) / "data", models) as server,
        ):
            seconds.append(server.ready_seconds)
    results.figure(
        "ready_seconds_empty",
        seconds,
        "from the start of the process on an empty folder to the first 200 of /readyz",
        "≤ 2",
    )


def _memory(results: Results, models: Path, portraits: Path, requests: int) -> None:
    """Send mixed pictures one after the other, and look at the resident memory at rest."""
    with tempfile.TemporaryDirectory() as folder:
        key = filled(Path(folder), 100)
        with serving(Path(folder), models, key) as server, Client(server.port) as client:
            mixed = [server.request(scene.jpeg) for scene in scenes(portraits).values()]
            for request in islice(cycle(mixed), FIRST):
                client.send(request)
            time.sleep(REST_SECONDS)
            idle = server.memory()
            # What is allocated once by any use is not growth: a hundredth of the soak is for that.
            for request in islice(cycle(mixed), requests // 100):
                client.send(request)
            time.sleep(REST_SECONDS)
            before = server.memory()
            for request in islice(cycle(mixed), requests):
                client.send(request)
            time.sleep(REST_SECONDS)
            after = server.memory()
    results.figure(
        "idle_rss_mb",
        [idle / 1e6],
        f"resident memory at rest after {FIRST} requests with pictures of 640 and 1920 px",
        "≤ 250",
    )
    results.figure(
        "soak_rss_growth",
        [after / before - 1],
        f"growth of resident memory over {requests:,} requests with mixed pictures",
        "< 0.05",
    )
