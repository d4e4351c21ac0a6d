"""How long one picture takes, stage by stage, and what share of the whole each stage has.

`make bench` runs it on the test portraits. The figures are medians over rounds, one picture at a
time. Compare milliseconds of one idle machine only; the shares travel further.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from knownface.imaging import Decoder, ImageLimits
from knownface.vision.catalog import Catalog, ModelSpec
from knownface.vision.pipeline import CALCULATOR, Pipeline
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network

STAGES = ("decode", "detect", "embed")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Timed:
    """One picture: its faces, and the seconds of each stage in each round."""

    picture: str
    faces: int
    rounds: Sequence[Sequence[float]]

    def milliseconds(self, stage: int) -> float:
        """Return the median time of a stage."""
        return 1000 * statistics.median(times[stage] for times in self.rounds)

    def whole(self) -> float:
        """Return the median time of all stages together, in milliseconds."""
        return 1000 * statistics.median(sum(times) for times in self.rounds)

    def share(self, stage: int) -> float:
        """Return the median share of a stage: it holds on a busy machine, too."""
        return statistics.median(times[stage] / sum(times) for times in self.rounds)


def measure(pipeline: Pipeline, decoder: Decoder, path: Path, rounds: int) -> Timed:
    """Send a picture through all stages again and again; the first time does not count."""
    data = path.read_bytes()
    measured = []
    for _ in range(rounds + 1):
        times = [time.perf_counter()]
        image = decoder.decode(data)
        times.append(time.perf_counter())
        faces = pipeline.detect(image)
        times.append(time.perf_counter())
        pipeline.describe(image, faces, (CALCULATOR,))
        times.append(time.perf_counter())
        measured.append([after - before for before, after in pairwise(times)])
    return Timed(path.name, len(faces), measured[1:])


def report(rows: Sequence[Timed]) -> Table:
    """Lay the measured pictures out, one a row: milliseconds and the share of the whole."""
    table = Table(title="Latency of one picture, milliseconds (share of the whole)")
    table.add_column("picture")
    for name in ("faces", *STAGES, "whole"):
        table.add_column(name, justify="right")
    for row in rows:
        cells = [f"{row.milliseconds(n):.1f} ({row.share(n):.0%})" for n in range(len(STAGES))]
        table.add_row(row.picture, str(row.faces), *cells, f"{row.whole():.1f}")
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
    rows = [measure(pipeline, decoder, path, arguments.rounds) for path in pictures]
    scheduler.close()
    console = Console()
    console.print(report(rows))
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.rounds} rounds")


if __name__ == "__main__":
    main()
