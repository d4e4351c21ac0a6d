"""Judges on the small networks, and people to show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tiny_models
from knownface.evaluation.judging import Judge
from knownface.imaging import Decoder
from knownface.vision.catalog import Catalog
from pipelines import tiny_pipeline


@contextmanager
def tiny_judge(models: Path) -> Iterator[Judge]:
    """Open a judge on the small networks, which are written into this folder."""
    tiny_models.write_models(models)
    with tiny_pipeline(Catalog.load(models)) as pipeline:
        yield Judge(pipeline, Decoder(), lambda *_: None, 2)


def put(
    images: Path, name: str, identity: int | None, *, like: tuple[int, float] | None = None
) -> str:
    """Write a portrait of somebody, or a picture without a face, and return its name."""
    path = images / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = tiny_models.blank() if identity is None else tiny_models.portrait(identity, like=like)
    path.write_bytes(shown)
    return name


def write_csv(path: Path, columns: str, rows: Iterable[str]) -> Path:
    path.write_text("\n".join([columns, *rows]) + "\n", "utf-8")
    return path
