"""How long one picture takes, stage by stage, and what share of the whole each stage has.

`make bench` runs it on the test portraits. The figures are medians of single-threaded calls, one
after another; run it on an idle machine, and compare figures of one machine only.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from knownface.imaging import Decoder, ImageLimits
from knownface.vision.catalog import Catalog, ModelSpec
from knownface.vision.pipeline import CALCULATOR, Pipeline
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network

ROOT = Path(__file__).resolve().parent.parent


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """Return the median time of a call in milliseconds, after one call that does not count."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def stages(
    pipeline: Pipeline, decoder: Decoder, data: bytes, rounds: int
) -> tuple[int, dict[str, float]]:
    """Return how many faces a picture has, and the milliseconds of each stage and of the whole."""
    image = decoder.decode(data)
    faces = pipeline.detect(image)
    return len(faces), {
        "decode": median_ms(lambda: decoder.decode(data), rounds),
        "detect": median_ms(lambda: pipeline.detect(image), rounds),
        "embed": median_ms(lambda: pipeline.describe(image, faces, (CALCULATOR,)), rounds),
        "whole": median_ms(
            lambda: pipeline.analyze(decoder.decode(data), plugins=(CALCULATOR,)), rounds
        ),
    }


def report(rows: Sequence[tuple[str, int, dict[str, float]]]) -> Table:
    """Lay the measured pictures out, one a row: milliseconds and the share of the whole."""
    table = Table(title="Latency of one picture, milliseconds (share of the whole)")
    table.add_column("picture")
    table.add_column("faces", justify="right")
    names = list(rows[0][2])
    for name in names:
        table.add_column(name, justify="right")
    for picture, faces, times in rows:
        cells = [f"{times[name]:.1f} ({times[name] / times['whole']:.0%})" for name in names]
        table.add_row(picture, str(faces), *cells)
    return table


def main() -> None:
    """Measure each picture of a folder and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", type=Path, default=ROOT / "knownface-data" / "models")
    parser.add_argument("--pictures", type=Path, default=ROOT / ".cache" / "portraits")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--max-detect-size", type=int, default=640)
    arguments = parser.parse_args()

    catalog = Catalog.load(arguments.models)
    scheduler = Scheduler(os.cpu_count() or 1)

    def open_network(spec: ModelSpec) -> Network:
        return Network(spec, catalog.path(spec))

    pipeline = Pipeline(
        catalog,
        scheduler,
        detector="yunet",
        embedder="sface",
        max_detect_size=arguments.max_detect_size,
        det_prob_threshold=0.8,
        open_network=open_network,
    )
    decoder = Decoder(ImageLimits())
    pictures = sorted(arguments.pictures.glob("*.jpg"))
    rows = [
        (path.name, *stages(pipeline, decoder, path.read_bytes(), arguments.rounds))
        for path in pictures
    ]
    scheduler.close()
    console = Console()
    console.print(report(rows))
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.rounds} rounds")


if __name__ == "__main__":
    main()
