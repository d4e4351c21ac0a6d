"""What the accuracy tests measure with: the pipeline on the default weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from knownface.evaluation.judging import Judge
from knownface.evaluation.results import Evaluation
from knownface.imaging import Decoder, ImageLimits
from knownface.types import Image
from knownface.vision.catalog import Catalog
from knownface.vision.pipeline import Pipeline
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network

EVALUATION: Final = Path(
    os.environ.get("KNOWNFACE_EVAL_DATA") or Path(__file__).parents[3] / "shared" / "data"
)


def evaluation_folder(name: str) -> Path:
    """Return a folder of the evaluation data, or skip: it may not be shipped."""
    folder = EVALUATION / name
    if not folder.is_dir():
        pytest.skip(f"no evaluation data {name}: set KNOWNFACE_EVAL_DATA to where it lies")
    return folder


def weights_folder() -> Path:
    """Return the folder of the default weights, or skip: somebody ran pytest without make."""
    folder = os.environ.get("KNOWNFACE_TEST_MODELS")
    if not folder:
        pytest.skip("no weights: `make test` installs them and sets KNOWNFACE_TEST_MODELS")
    return Path(folder)


@contextmanager
def default_pipeline(*, max_detect_size: int = 640) -> Iterator[Pipeline]:
    """Open the pipeline on YuNet and SFace with the default settings."""
    catalog = Catalog.load(weights_folder())
    scheduler = Scheduler(os.cpu_count() or 1)
    try:
        yield Pipeline(
            catalog,
            scheduler,
            detector="yunet",
            embedder="sface",
            max_detect_size=max_detect_size,
            det_prob_threshold=0.8,
            open_network=lambda spec: Network(spec, catalog.path(spec), threads=1),
        )
    finally:
        scheduler.close()


def read(path: Path) -> Image:
    """Decode a picture as the server does, without its limit of bytes."""
    return Decoder(ImageLimits(max_bytes=1 << 30)).decode(path.read_bytes())


def default_judge(pipeline: Pipeline) -> Judge:
    """Return what measures through this pipeline, with as many threads as there are cores."""
    decoder = Decoder(ImageLimits(max_bytes=1 << 30))
    return Judge(pipeline, decoder, lambda *_: None, os.cpu_count() or 1)


def show(found: Evaluation) -> None:
    """Print the tables, which the documents quote."""
    for table in found.tables:
        print(f"\n{table.title}")
        for row in (table.columns, *table.rows):
            print("  " + " | ".join(map(str, row)))
