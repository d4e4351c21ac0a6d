"""What a server takes of a machine: the time until it is ready, and memory over its life."""

from __future__ import annotations

import tempfile
import threading
import time
from itertools import cycle, islice
from pathlib import Path

from bench.results import Results
from bench.scenes import mixed
from bench.serving import Client, Server, filled, serving

STARTS, QUICK_STARTS = 7, 3
SOAK, QUICK_SOAK = 50_000, 5_000
FIRST = 52
CLIENTS = 4
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
    """Send mixed pictures, and look at the resident memory at rest."""
    pictures = mixed(portraits)
    with tempfile.TemporaryDirectory() as folder:
        key = filled(Path(folder), 100)
        with serving(Path(folder), models, key) as server:
            idle = _rest_after(server, pictures, FIRST, clients=1)
            # What is allocated once by any use is not growth: a hundredth of the soak is for that.
            before = _rest_after(server, pictures, max(len(pictures), requests // 100))
            started = time.perf_counter()
            after = _rest_after(server, pictures, requests)
            rate = requests / (time.perf_counter() - started - REST_SECONDS)
    results.figure(
        "idle_rss_mb",
        [idle / 1e6],
        f"resident memory at rest after {FIRST} requests, among them pictures of 640 and 1920 px",
        "≤ 250",
    )
    results.figure(
        "soak_rss_growth",
        [after / before - 1],
        f"growth of resident memory over {requests:,} requests, {CLIENTS} at a time, with pictures "
        f"of {len(set(pictures))} sizes; {rate:.0f} requests a second",
        "< 0.05",
    )


def _rest_after(server: Server, pictures: list[bytes], count: int, clients: int = CLIENTS) -> int:
    """Send so many requests, one of each client at a time; return the resident bytes at rest."""
    prepared = [server.request(picture) for picture in pictures]
    waiting = islice(cycle(prepared), count)
    lock = threading.Lock()
    failures: list[BaseException] = []

    def live() -> None:
        try:
            with Client(server.port) as client:
                while True:
                    with lock:
                        request = next(waiting, None)
                    if request is None:
                        return
                    client.send(request)
        except (OSError, RuntimeError) as error:
            failures.append(error)

    threads = [threading.Thread(target=live) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    time.sleep(REST_SECONDS)
    return server.memory()
