"""The database: `Store.open(url)`, then `store.begin()` to write and `store.snapshot()` to read."""

from __future__ import annotations

from knownface.store.browsing import SeenExample, SeenSubject
from knownface.store.changes import Changes
from knownface.store.recall import Recall
from knownface.store.store import Store, Transaction
from knownface.store.subjects import Renaming
from knownface.store.vectors import Census, Vectors

__all__ = [
    "Census",
    "Changes",
    "Recall",
    "Renaming",
    "SeenExample",
    "SeenSubject",
    "Store",
    "Transaction",
    "Vectors",
]
