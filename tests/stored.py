"""Rows for tests of the store: services, and faces that are told apart by a number."""

from __future__ import annotations

import hashlib
from itertools import count

import numpy as np

from knownface.store import Store
from knownface.types import Embedding, Photograph, Service, ServiceType

DIMENSION = 8
_numbers = count(1)


def make_service(store: Store, type: ServiceType = ServiceType.RECOGNITION) -> Service:
    """A service of its own application, both of them new."""
    number = next(_numbers)
    with store.begin() as tx:
        application = tx.create_application(f"application {number}")
        return tx.create_service(application, "faces", type, digest(f"key {number}"))


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def face(number: int, *, model: str = "tiny", dimension: int = DIMENSION) -> Embedding:
    """A unit vector that is the same for the same number and, but for luck, for no other."""
    vector = np.random.default_rng(number).normal(size=dimension)
    return Embedding((vector / np.linalg.norm(vector)).astype(np.float32), model)


def picture(number: int, length: int = 300) -> Photograph:
    """Bytes that no compression shortens; a longer picture of the same number begins with them."""
    return Photograph(np.random.default_rng(number).bytes(length), "image/jpeg")
