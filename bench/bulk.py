"""An import beside the pipeline alone, in turn, on the same pictures."""

from __future__ import annotations

import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from bench.results import Results
from bench.scenes import scenes
from knownface.app import App, build, cores
from knownface.bulk.enrolment import Enrolment
from knownface.bulk.importing import Importer, Kind
from knownface.bulk.sources import Item
from knownface.recognition import Options
from knownface.settings import Settings
from knownface.types import Service, ServiceType

PICTURES, ROUNDS = 600, 7
QUICK_PICTURES, QUICK_ROUNDS = 60, 3
APPLICATION = "bench"


def measure(results: Results, *, models: Path, portraits: Path, quick: bool) -> None:
    """Measure everything of this page."""
    count, rounds = (QUICK_PICTURES, QUICK_ROUNDS) if quick else (PICTURES, ROUNDS)
    jpeg = scenes(portraits)["640px-1"].jpeg
    # What follows the end of a JPEG is nothing to a decoder, and makes each a picture of its own.
    pictures = [jpeg + number.to_bytes(4, "big") for number in range(count)]
    ratios, rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder), models_dir=models, offline=True)
        with build(settings) as app:
            for number in range(-1, rounds):
                service, _ = app.accounts.create_service(
                    APPLICATION, f"round {number}", ServiceType.RECOGNITION
                )
                least, took = _bare(app, service, pictures), _imported(app, service, pictures)
                if number >= 0:  # the first round only warms up
                    ratios.append(least / took)
                    rates.append(count / took)
    results.ratio(
        "import_over_limit",
        ratios,
        "pictures a second of an import over those of the pipeline alone, 640 px, one face",
        "≥ 0.95",
    )
    results.figure("imported_per_second", rates, "pictures imported a second")


def _bare(app: App, service: Service, pictures: list[bytes]) -> float:
    """Return the seconds in which the pipeline decodes, finds and embeds all pictures."""
    waiting = iter(pictures)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                picture = next(waiting, None)
            if picture is None:
                return
            app.recognition.prepare(service, picture, Options())

    # As many as an import has: one decodes while the others wait for the networks.
    threads = [threading.Thread(target=work) for _ in range(cores() + 1)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _read(picture: bytes, _limit: int) -> bytes:
    return picture


def _imported(app: App, service: Service, pictures: list[bytes]) -> float:
    """Return the seconds in which an import has stored all pictures."""
    importer = Importer(
        Enrolment(app.recognition, app.store, service, Options()),
        jobs=cores(),
        max_file_size=1 << 30,
    )
    items = (
        Item(f"{number}.jpg", f"subject {number}", partial(_read, picture))
        for number, picture in enumerate(pictures)
    )
    started = time.perf_counter()
    outcomes = list(importer.run(items))
    took = time.perf_counter() - started
    assert [outcome.kind for outcome in outcomes] == [Kind.ADDED] * len(pictures)
    return took
