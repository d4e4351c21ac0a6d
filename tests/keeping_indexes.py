"""Processes that begin and end with an index in files."""

from __future__ import annotations

from pathlib import Path

from faces import CALIBRATION, DIMENSION, MODEL, code_of, names, unit_vectors
from knownface.collection import FaceCollection
from knownface.keeping import kept_index
from knownface.store import Store
from knownface.types import F32, Service


def start(store: Store, service: Service, root: Path, **changes: object) -> FaceCollection:
    """Return the collection of a process that has just begun."""
    given: dict[str, object] = {
        "model": MODEL,
        "dimension": DIMENSION,
        "calibration": CALIBRATION,
        "kept": kept_index(root, service.id),
        "keep_from": 1,
    }
    return FaceCollection(store, service.id, **given | changes)  # type: ignore[arg-type]  # mixed


def stop(faces: FaceCollection) -> bool:
    """Keep the index and leave its folder, as a process does that ends."""
    kept = faces.keep()
    faces.close()
    return kept


def keep(store: Store, service: Service, root: Path) -> None:
    """Let a process begin, search once and end."""
    faces = start(store, service, root)
    names(faces, unit_vectors(1)[0])
    assert stop(faces)


def in_files(root: Path, vector: F32) -> bool:
    """Tell whether some file holds what an index knows of a face."""
    piece = code_of(vector)
    return any(piece in path.read_bytes() for path in root.rglob("*") if path.is_file())
