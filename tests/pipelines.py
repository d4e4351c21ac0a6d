"""Pipelines on the small networks, closed with the test that opened them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from knownface.vision.catalog import Catalog
from knownface.vision.pipeline import Pipeline
from knownface.vision.scheduler import Scheduler
from knownface.vision.session import Network
from tiny_models import DETECTOR, EMBEDDER


@contextmanager
def tiny_pipeline(catalog: Catalog, slots: int = 2) -> Iterator[Pipeline]:
    """Open a pipeline on the small detector and embedder, with the server's default settings."""
    scheduler = Scheduler(slots)
    try:
        yield Pipeline(
            catalog,
            scheduler,
            detector=DETECTOR,
            embedder=EMBEDDER,
            max_detect_size=640,
            det_prob_threshold=0.8,
            open_network=lambda spec: Network(spec, catalog.path(spec)),
        )
    finally:
        scheduler.close()
