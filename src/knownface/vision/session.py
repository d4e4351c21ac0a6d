"""A network and its life, whichever runtime it runs on.

    absent ──► loading ──► ready ──► unloaded ──► loading …
                  └──────► failed

`absent`: there is no file. `unloaded`: there is one, and its weights are not in memory.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from knownface import memory
from knownface.errors import ModelUnavailable
from knownface.types import F32
from knownface.vision.catalog import ModelSpec, sha256_of
from knownface.vision.families import complaint
from knownface.vision.runtimes import (
    CPU,
    Choice,
    Session,
    input_of,
    open_session,
    reason,
    runtime_for,
)

log = logging.getLogger(__name__)

State = Literal["absent", "loading", "ready", "failed", "unloaded"]

# Runs of each kind that are compared.
_COMPARED: Final = 7
# In an undisturbed run on one thread the processor works for us nearly all the time.
_OURS: Final = 0.9

# (width, height) of the warm-up where neither the file nor the catalogue fixes it.
ANY_SIZE: Final = (640, 640)


class Load:
    """How many runs go on at one time, of all networks that share this."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self.begun = 0

    @contextmanager
    def run(self) -> Iterator[bool]:
        """Count a run; True says that no other one goes on."""
        with self._lock:
            alone = self._running == 0
            self._running += 1
            self.begun += 1
        try:
            yield alone
        finally:
            with self._lock:
                self._running -= 1


class Network:
    """One model: loads itself when it is needed, may be run by any number of threads at once.

    `threads` overrides the threads per run of the catalogue; neither exceeds the number of
    processors. `streams` is how many runs may go on at once. `provider` is ONNX Runtime's name of
    the device, which has to be available where the model is loaded. Networks that compete for the
    same processors share a `load`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        path: Path | None,
        threads: int | None = None,
        *,
        runtime: Choice = "auto",
        streams: int = 1,
        provider: str = CPU,
        load: Load | None = None,
    ) -> None:
        self.spec = spec
        self.path = path
        self._choice = runtime
        self._streams = streams
        self.threads = max(1, min(threads or spec.threads, os.cpu_count() or 1))
        self._asked_provider = provider
        self._load_of_all = load or Load()
        # What a run that is alone takes, and on how many threads: see `widen`.
        self._wide: _Loaded | None = None
        self._wide_threads = 1
        self._lock = threading.Lock()
        self._loading = False
        self._loaded: _Loaded | None = None
        self._failure: _Failure | None = None
        self._output_names: tuple[str, ...] = ()
        self._healthy = False

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def max_batch(self) -> int:
        return self.spec.max_batch

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs in the order in which `run` returns them; empty before the first load."""
        return self._output_names

    @property
    def provider(self) -> str:
        """The device that runs the model; until it is loaded, the one that was asked for."""
        loaded = self._loaded
        return loaded.session.provider if loaded else self._asked_provider

    @property
    def runtime(self) -> str:
        """The runtime with its version, device and precision; before the load only its name."""
        loaded = self._loaded
        if loaded:
            return loaded.session.description
        return runtime_for(self.spec, self._choice, self._asked_provider)

    @property
    def threads_said(self) -> str:
        """How many threads a run takes, for people."""
        said = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{said}, {self._wide_threads} where nothing else runs" if self._wide else said

    @property
    def healthy(self) -> bool:
        """Whether the last run (the warm-up is one) or the last load went well."""
        return self._healthy

    @property
    def state(self) -> State:
        if self._loading:
            return "loading"
        if self._loaded:
            return "ready"
        if _identity(self.path) is None:
            return "absent"
        return "failed" if self._failure else "unloaded"

    def load(self) -> None:
        """Verify, load and warm the model unless it is ready; tries again after a failure.

        Raises ModelUnavailable saying what is wrong. Of several threads one loads and the others
        wait for it.
        """
        with self._lock:
            if not self._loaded:
                self._load()

    def try_once(self) -> None:
        """Load and run the model without keeping it; ModelUnavailable says what is wrong."""
        self._opened()

    def unload(self) -> None:
        """Give the memory back; runs under way finish, and the next one loads the model again."""
        with self._lock:
            self._loaded = self._wide = None
        memory.return_freed()

    def rest(self) -> None:
        """Free what only runs need, for a time in which there are none."""
        for one in (self._loaded, self._wide):
            if one:
                one.session.rest()

    def widen(self, threads: int) -> None:
        """Let a run take so many threads while no other run goes on; it is held a second time.

        Raises ModelUnavailable when it cannot be loaded; then all stays as it was.
        """
        threads = min(threads, os.cpu_count() or 1)
        with self._lock:
            wide = self._opened(threads) if self._loaded and threads > self.threads else None
            self._wide_threads, self._wide = threads, wide
        memory.return_freed()

    def compare(self, threads: int) -> tuple[float, float] | None:
        """Return the least seconds of a run on its usual threads and on so many, run in turn.

        None when other runs of ours, or other programs, kept the processor meanwhile, for then they
        say nothing. Raises ModelUnavailable when it cannot be loaded.
        """
        with self._lock:
            usual = self._loaded or self._load()
            wide = self._opened(threads)
        with self._load_of_all.run() as alone:
            before = self._load_of_all.begun
            rounds = [(usual.seconds(), wide.seconds()) for _ in range(_COMPARED)]
            alone &= self._load_of_all.begun == before
        del wide
        memory.return_freed()
        usually, widely = (min(times) for times in zip(*rounds, strict=True))
        undisturbed = usually[1] >= _OURS * usually[0]
        return (usually[0], widely[0]) if alone and undisturbed else None

    def run(self, tensor: F32) -> tuple[F32, ...]:
        """Return the outputs for a batch, float32 [B, …], each with the batch as axis 0.

        Loads the model when needed. Raises ModelUnavailable when that fails, at once while the file
        that failed is still the same one; what the runtime raises about this very tensor passes
        through.
        """
        # The local name keeps the session alive while another thread unloads the network.
        loaded = self._loaded or self._load_for_a_run()
        try:
            with self._load_of_all.run() as alone:
                outputs = ((self._wide if alone else None) or loaded).run(tensor)
        except Exception:
            self._healthy = False
            raise
        self._healthy = True
        return outputs

    def _load_for_a_run(self) -> _Loaded:
        with self._lock:
            if self._loaded:
                return self._loaded
            if self._failure and self._failure.file == _identity(self.path):
                raise ModelUnavailable(self._failure.message)
            return self._load()

    def _load(self) -> _Loaded:
        """Do the load; the caller holds the lock."""
        file = _identity(self.path)
        started = time.perf_counter()
        self._loading = True
        try:
            loaded = self._opened()
            if self._wide_threads > self.threads:
                self._wide = self._opened(self._wide_threads)
        except ModelUnavailable as error:
            self._failure = _Failure(error.message, file)
            self._healthy = False
            log.error("model failed to load", extra={"model": self.name, "reason": error.message})
            raise
        else:
            self._output_names = loaded.output_names
            self._loaded = loaded
            self._failure = None
            self._healthy = True
        finally:
            self._loading = False
        memory.return_freed()  # what the runtime needed to read the file
        seconds = time.perf_counter() - started
        log.info("model ready", extra={"model": self.name, "seconds": round(seconds, 3)})
        return loaded

    def _opened(self, wide: int = 0) -> _Loaded:
        if self.path is None or not self.path.is_file():
            raise ModelUnavailable(f"Model {self.name} is not installed: {_remedy(self.spec)}.")
        try:
            # The catalogue did this, too, but the file may have changed since it was first loaded.
            if self.spec.sha256 is not None and sha256_of(self.path) != self.spec.sha256:
                raise ModelUnavailable(
                    f"The file of model {self.name} is damaged: {_remedy(self.spec)}."
                )
            session = open_session(
                self.spec,
                self.path,
                choice=self._choice,
                threads=wide or self.threads,
                streams=1 if wide else self._streams,
                provider=self._asked_provider,
            )
            return _Loaded(self.spec, session)
        except ModelUnavailable:
            raise
        except Exception as error:
            # The runtimes' errors have no class in common, and all of them mean the same here.
            # Their text names the file with its folders, which are no business of a client.
            raise ModelUnavailable(
                f"Model {self.name} cannot be loaded: {reason(error, self.path)}"
            ) from error


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why the last load failed, and with which file: until that changes, no run tries it again."""

    message: str
    file: tuple[int, ...] | None


class _Loaded:
    """A runtime's session that has been run on every pinned shape."""

    def __init__(self, spec: ModelSpec, session: Session) -> None:
        self.session = session
        self.output_names = session.output_names
        self._shape = input_of(session, spec)
        self._unbatched: frozenset[int] = frozenset()
        self._blank = np.zeros(_shape(self._shape, spec, 1), np.float32)
        self._warm(spec)

    def run(self, tensor: F32) -> tuple[F32, ...]:
        outputs = self.session.run(tensor)
        if not self._unbatched:
            return tuple(outputs)
        return tuple(o[None] if i in self._unbatched else o for i, o in enumerate(outputs))

    def seconds(self) -> tuple[float, float]:
        """Return how long one run on an empty picture takes, and the processor's share of that."""
        started, used = time.perf_counter(), time.process_time()
        self.run(self._blank)
        return time.perf_counter() - started, time.process_time() - used

    def _warm(self, spec: ModelSpec) -> None:
        """Run each pinned batch once, and learn which outputs lack the batch axis (as SCRFD's)."""
        for batch in sorted({1, spec.max_batch}):
            outputs = self.run(np.zeros(_shape(self._shape, spec, batch), np.float32))
            lacking = [i for i, o in enumerate(outputs) if o.ndim == 0 or o.shape[0] != batch]
            if lacking and batch > 1:
                raise ModelUnavailable(
                    f"Model {spec.name} cannot be run in batches: set its max_batch to 1."
                )
            problem = complaint(spec.family, [o.shape for o in outputs])
            if problem:
                raise ModelUnavailable(f"Model {spec.name} cannot be used: {problem}.")
            if spec.dimension is not None and outputs[0].size != batch * spec.dimension:
                raise ModelUnavailable(
                    f"Model {spec.name} gives {outputs[0].size // batch} numbers a face, "
                    f"not the {spec.dimension} of its dimension."
                )
            self._unbatched = frozenset(lacking)


def _shape(declared: Sequence[int | None], spec: ModelSpec, batch: int) -> tuple[int, ...]:
    """Return the warm-up's shape: what the file fixes, else what the catalogue says."""
    width, height = spec.size or ANY_SIZE
    sample = (3, height, width) if spec.layout == "NCHW" else (height, width, 3)
    known = (batch, *sample)
    if len(declared) != len(known):
        raise ModelUnavailable(
            f"Model {spec.name} takes {len(declared)} dimensions "
            f"instead of the {len(known)} of {spec.layout}."
        )
    _check_size(declared, spec)
    fixed = [k if d is None else d for d, k in zip(declared, known, strict=True)]
    return (batch, *fixed[1:])


def _check_size(declared: Sequence[int | None], spec: ModelSpec) -> None:
    """Raise ModelUnavailable where the file fixes a size and the description gives another."""
    down, across = declared[2:] if spec.layout == "NCHW" else declared[1:3]
    if down is None or across is None:
        return
    # Only a detector is fed pictures of any size when the description names none.
    if (across, down) != (spec.size or (None if spec.task == "detector" else (across, down))):
        raise ModelUnavailable(
            f"The file of model {spec.name} takes pictures of {across} x {down} alone: "
            f"set its size to [{across}, {down}]."
        )


def _remedy(spec: ModelSpec) -> str:
    if spec.carrier or spec.pack:
        return f"run 'knownface models install {spec.pack or spec.name}'"
    return f"put {spec.file} beside its model.toml"


def _identity(path: Path | None) -> tuple[int, ...] | None:
    """Return what changes when a file is replaced or rewritten; None when there is none."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
