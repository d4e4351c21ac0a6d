"""Kept indexes: where they are, and how what is deleted leaves them before anybody is told.

Whoever opens the database through `follow_erasures` removes from the files, after each commit that
erases and before the deletion is acknowledged, what the log of changes says is gone. What a process
that was killed in between left behind, the next one removes when it opens the database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from knownface.errors import KnownfaceError, ServiceNotFound
from knownface.index.kept import KeptIndex

if TYPE_CHECKING:
    from knownface.store import Store

log = logging.getLogger(__name__)


def kept_indexes(store: Store, data: Path) -> Path:
    """Return the folder of the indexes that are kept from one process to the next.

    Beside a SQLite file: whoever deletes a face there, wherever from, has to find them.
    """
    if store.file is None:
        return data / "indexes"
    return store.file.with_name(f"{store.file.name}-indexes")


def kept_index(root: Path, service_id: int) -> KeptIndex:
    """Return what is kept of a service's index in the folder for all of them."""
    return KeptIndex(root / str(service_id))


def follow_erasures(store: Store, root: Path) -> None:
    """Let what was and what from now on is erased from the database leave the kept indexes too."""

    def erased(since: Mapping[int, int], *, everywhere: bool) -> None:
        try:
            for service_id, revision in since.items():
                _erase(store, root, service_id, revision)
            if everywhere:
                catch_up(store, root)
        except OSError:
            log.exception("deleted faces could not be removed from %s: remove that folder", root)

    store.on_erasure(erased)
    # A process that was killed may have left what it had erased.
    erased({}, everywhere=True)


def catch_up(store: Store, root: Path) -> None:
    """Remove from all kept indexes what has been deleted since they were written."""
    for folder in sorted(root.glob("*[0-9]")) if root.exists() else ():
        kept = KeptIndex(folder)
        origin = kept.origin()
        if origin is None:
            kept.remove()
        else:
            _erase(store, root, int(folder.name), origin.revision)


def _erase(store: Store, root: Path, service_id: int, since: int) -> None:
    """Remove from one kept index what the service lost after a revision."""
    kept = kept_index(root, service_id)
    if not kept.exists():
        return
    try:
        with store.snapshot() as tx:
            changes = tx.changes(service_id, since)
    except ServiceNotFound:
        changes = None
    except KnownfaceError as error:
        log.warning("a kept index is given up, for what was deleted is not known: %s", error)
        changes = None
    if changes is None or changes.cleared:
        kept.remove()
    else:
        kept.erase(np.array(changes.removed, np.int64))


class Keeper:
    """A thread that does something now and then until it is stopped."""

    def __init__(
        self, work: Callable[[], None], seconds: float, what: str = "keeping indexes"
    ) -> None:
        """`what` it does is said in the log where it fails."""
        self._work = work
        self._seconds = seconds
        self._what = what
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin; a second call does nothing."""
        if not self._thread.is_alive() and not self._stopping.is_set():
            self._thread.start()

    def stop(self) -> None:
        """Return when it is not at work any more and never will be."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _live(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self._work()
            except KnownfaceError as error:
                log.warning("%s waits", self._what, extra={"reason": error.message})
            except Exception:
                log.exception("%s failed", self._what)
