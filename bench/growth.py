"""How a search grows with the collection: latency and memory from ten thousand faces on."""

from __future__ import annotations

import re
import statistics
from importlib import resources
from pathlib import Path

import numpy as np

from bench.results import Results
from bench.search import Faces, anonymous_bytes, seconds
from knownface.evaluation.charts import draw
from knownface.evaluation.results import Curve
from knownface.index.exact import ExactIndex
from knownface.types import F32

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000)
STEP = 10_000
DIMENSION, SEARCHES = 128, 101
IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


def measure(results: Results, *, models: Path, portraits: Path, quick: bool) -> None:
    """Grow one index, and at each size search it and look at the memory of the process."""
    del models, portraits
    sizes = [size for size in SIZES if size <= SIZES[-1] / (10 if quick else 1)]
    faces = Faces(sizes[-1], DIMENSION)
    queries = faces.probes(SEARCHES)[1]
    rows: list[dict[str, float]] = []
    index, before = ExactIndex(DIMENSION), anonymous_bytes()
    for keys, subjects, vectors in faces.blocks():
        for start in range(0, len(keys), STEP):
            part = slice(start, start + STEP)
            index.add(keys[part], subjects[part], vectors[part])
            if len(index) in sizes:
                rows.append(_row(index, queries, before))
    results.details["growth"] = rows
    if not quick:
        _plot(rows)


def _row(index: ExactIndex, queries: F32, before: int) -> dict[str, float]:
    memory = max(0, anonymous_bytes() - before)
    matrix = Faces(len(index), DIMENSION).matrix()

    def search(number: int) -> object:
        return index.search(queries[number : number + 1], 1, matrix.__getitem__)

    search(0)
    times = [seconds(search, number) for number in range(len(queries))]
    return {
        "faces": len(index),
        "p50_ms": 1000 * statistics.median(times),
        "p99_ms": 1000 * float(np.percentile(times, 99)),
        "memory_mb": memory / 1e6,
    }


def _plot(rows: list[dict[str, float]]) -> None:
    faces = np.array([row["faces"] for row in rows])
    for name, label, columns in (
        ("search-latency", "milliseconds a search", ("p50_ms", "p99_ms")),
        ("search-memory", "megabytes", ("memory_mb",)),
    ):
        series = tuple(
            (column.partition("_")[0], faces, np.array([row[column] for row in rows]))
            for column in columns
        )
        chart = Curve(label, "faces in the collection", label, series, log_x=True, log_y=True)
        (IMAGES / f"{name}.svg").write_text(_standalone(draw(chart, 0)))


def _standalone(figure: str) -> str:
    """Return the drawing of a report as a file of its own, with the report's colours."""
    drawn = re.search(r"<svg(.*?)</svg>", figure, re.DOTALL)
    assert drawn
    css = resources.files("knownface.evaluation").joinpath("report.css").read_text("utf-8")
    light = re.search(r":root \{(.*?)\}", css, re.DOTALL)
    rules = re.findall(r"^(?:svg|\.(?:grid|fine|line|area|s\d)).*?\}$", css, re.MULTILINE)
    assert light
    style = f"svg{{{light[1]}; background: #fff; font-family: sans-serif}}" + "".join(rules)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg"{drawn[1]}'.replace(
            ">", f"><style>{style}</style>", 1
        )
        + "</svg>\n"
    )
