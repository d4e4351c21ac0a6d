"""How the server is doing, for people: versions, models, indexes, queues, disk and database."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from knownface import __version__
from knownface.errors import KnownfaceError

if TYPE_CHECKING:
    from knownface.collections_by_service import Collections
    from knownface.store import Store
    from knownface.vision.pipeline import Pipeline

_CPU_NAMES: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the server runs on; `cores` are those that it may use."""

    system: str
    processor: str
    cores: int
    memory_bytes: int | None
    python: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model that the server uses or would load when asked."""

    name: str
    task: str
    version: str
    state: str
    runtime: str
    required: bool


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """An index in memory: of which service, and how large."""

    service_id: int
    service: str
    application: str
    faces: int
    bytes: int


@dataclass(frozen=True, slots=True)
class System:
    """The state of one process of the server at one moment; sizes are None where unknown."""

    version: str
    started_at: datetime
    machine: Machine
    database: str
    database_bytes: int | None
    disk_free_bytes: int | None
    models: list[ModelStatus]
    indexes: list[IndexStatus]
    queue: Mapping[str, int]
    checks: Mapping[str, str]
    ready: bool


class Status:
    """Looks at one process of the server; `readiness` tells whether it is ready, and why not."""

    def __init__(
        self,
        store: Store,
        pipeline: Pipeline,
        collections: Collections,
        *,
        data: Path,
        cores: int,
        readiness: Callable[[], tuple[bool, Mapping[str, str]]],
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._collections = collections
        self._data = data
        self._cores = cores
        self._readiness = readiness
        self._started_at = datetime.now(UTC)

    def look(self) -> System:
        """Return how things are now; what cannot be told is left out, not an error."""
        ready, checks = self._readiness()
        return System(
            version=__version__,
            started_at=self._started_at,
            machine=machine(self._cores),
            database=self._store.kind,
            database_bytes=told(self._store.size),
            disk_free_bytes=told(lambda: shutil.disk_usage(self._data).free),
            models=self._models(),
            indexes=self._indexes(),
            queue=dict(self._pipeline.scheduler.depth()),
            checks=checks,
            ready=ready,
        )

    def _models(self) -> list[ModelStatus]:
        required = {network.name for network in self._pipeline.required}
        return [
            ModelStatus(
                *(network.name, network.spec.task, network.spec.version),
                *(network.state, network.runtime, network.name in required),
            )
            for network in list(self._pipeline.networks.values())
        ]

    def _indexes(self) -> list[IndexStatus]:
        held = self._collections.held()
        try:
            with self._store.snapshot() as tx:
                services = {one.id: one for one in tx.services()}
        except KnownfaceError:
            services = {}
        return [
            IndexStatus(service_id, one.name, one.application, *held[service_id])
            for service_id, one in services.items()
            if service_id in held
        ]


def machine(cores: int) -> Machine:
    """Return what this process runs on."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=cores,
        memory_bytes=told(lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        python=platform.python_version(),
    )


def _processor() -> str:
    """Return the name that the maker gave it; only Linux says it in a file."""
    try:
        lines = _CPU_NAMES.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def told(ask: Callable[[], int]) -> int | None:
    """Return a number, None where it cannot be told."""
    try:
        return ask()
    except (OSError, ValueError, KnownfaceError):
        return None
