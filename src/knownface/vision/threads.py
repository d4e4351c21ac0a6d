"""How many threads one run of a network takes: measured once on a machine, and kept.

With other work about, a thread a run serves everybody best. For a run that has the machine to
itself, more threads may pay, or may not: that depends on the network, on its runtime and on the
processor, so each is timed both ways after the first start on a machine.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
from pydantic import TypeAdapter, ValidationError

from knownface.errors import ConfigurationError, KnownfaceError
from knownface.vision.install import put
from knownface.vision.session import Network

log = logging.getLogger(__name__)

FILE: Final = "threads.json"
# More threads are taken when they make a run so many times as fast; more than MOST seldom help.
PAYS: Final = 1.6
MOST: Final = 4
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 20.0
_PROCESSORS: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Timing:
    """What was measured of one network: milliseconds of a run on one thread and on `threads`.

    `fingerprint` names all that it holds for; with anything else it has to be measured anew.
    """

    fingerprint: str
    threads: int
    one_ms: float
    all_ms: float

    @property
    def wide(self) -> int:
        """The threads of a run that is alone."""
        return self.threads if self.one_ms > PAYS * self.all_ms else 1

    def __str__(self) -> str:
        said = "1 thread" if self.wide == 1 else f"{self.wide} threads where nothing else runs"
        return f"{said} (1: {self.one_ms:.1f} ms, {self.threads}: {self.all_ms:.1f} ms)"


_TIMINGS: Final = TypeAdapter(dict[str, Timing])


def kept(path: Path) -> dict[str, Timing]:
    """Return what was measured before, by network; nothing where the file is absent or damaged."""
    try:
        return _TIMINGS.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}


def fingerprint(network: Network, cores: int) -> str:
    """Name what a timing depends on: processor, cores, runtime with its version, and the file."""
    file = network.spec.sha256 or network.spec.version
    return "; ".join((_processor(), f"{cores} cores", network.runtime, file[:16]))


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", _PROCESSORS.read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else f"{platform.machine()} {platform.processor()}".strip()


class Tuner:
    """Gives networks the threads that pay, in a thread of its own, while others are served.

    `asked` is the setting: 0 takes what was measured, once, and 1 or more is taken as it is.
    `cores` are the processors that a run may take. What is measured is kept at `path`.
    """

    def __init__(
        self, networks: Sequence[Network], path: Path, *, asked: int = 0, cores: int
    ) -> None:
        self._networks = networks
        self._path = path
        self._asked = min(asked, cores)
        self._cores = cores
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="threads", daemon=True)
        self._began = False

    def start(self) -> None:
        """Begin, unless it was begun before; nobody has to wait for it."""
        if self._cores > 1 and self._asked != 1 and not self._began:
            self._began = True
            self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until all networks have their threads; False when that takes longer."""
        if self._began:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End as soon as the measurement under way is over."""
        self._stopping.set()
        if self._began:
            self._thread.join()

    def _work(self) -> None:
        for network in self._networks:
            if self._stopping.is_set():
                return
            try:
                self._tune(network)
            except KnownfaceError as error:
                reason = {"model": network.name, "reason": error.message}
                log.warning("threads are not measured", extra=reason)

    def _tune(self, network: Network) -> None:
        if self._asked:
            network.widen(self._asked)
            return
        known = fingerprint(network, self._cores)
        for _ in range(_ATTEMPTS):
            with _turn(self._path.parent) as ours:
                # Another process may have measured it meanwhile.
                timing = kept(self._path).get(network.name)
                if timing is None or timing.fingerprint != known:
                    timing = self._measured(network, known) if ours else None
            if timing:
                network.widen(timing.wide)
                return
            if self._stopping.wait(_PAUSE_SECONDS):
                return

    def _measured(self, network: Network, known: str) -> Timing | None:
        """Time both ways and keep it; None where other work disturbed that."""
        threads = min(MOST, self._cores)
        times = network.compare(threads)
        if not times:
            return None
        timing = Timing(known, threads, *(round(1000 * s, 2) for s in times))
        self._keep(network.name, timing)
        log.info("threads measured", extra={"model": network.name, "found": str(timing)})
        return timing

    def _keep(self, name: str, timing: Timing) -> None:
        everything = {**kept(self._path), name: timing}
        content = orjson.dumps({n: asdict(t) for n, t in everything.items()})
        try:
            put(self._path, content)
        except OSError as error:
            raise ConfigurationError(f"Cannot keep {self._path}: {error.strerror}.") from error


@contextmanager
def _turn(folder: Path) -> Iterator[bool]:
    """Keep other processes on this data folder from measuring; False says that one does already.

    Two at a time would each find that more threads do not pay. The system drops the lock with the
    process. Where a folder cannot be locked, a measurement may be disturbed, and no worse.
    """
    if sys.platform == "win32":  # no flock
        yield True
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = True
    except OSError as error:
        ours = not isinstance(error, BlockingIOError)
    try:
        yield ours
    finally:
        os.close(handle)
