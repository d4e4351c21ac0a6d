"""Pipelines on the small networks, closed with the test that opened them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from knownface.vision.catalog import Catalog
from knownface.vision.pipeline import Pipeline
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network
from tiny_models import DETECTOR, EMBEDDER


@contextmanager
def tiny_pipeline(catalog: Catalog, slots: int = 2) -> Iterator[Pipeline]:
    """Open a pipeline on the small detector and embedder, with the server's default settings."""
    with pipeline_of(catalog, DETECTOR, EMBEDDER, slots=slots) as pipeline:
        yield pipeline


@contextmanager
def pipeline_of(
    catalog: Catalog,
    detector: str,
    embedder: str,
    *,
    models: Mapping[str, str] | None = None,
    slots: int = 2,
) -> Iterator[Pipeline]:
    """Open a pipeline on these models, `models` being those of plugins by slug."""
    scheduler = Scheduler(slots)
    try:
        yield Pipeline(
            catalog,
            scheduler,
            detector=detector,
            embedder=embedder,
            max_detect_size=640,
            det_prob_threshold=0.8,
            open_network=lambda spec: Network(spec, catalog.path(spec)),
            models=models or {},
        )
    finally:
        scheduler.close()
