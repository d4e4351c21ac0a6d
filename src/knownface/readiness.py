"""Whether requests can be served: what a load balancer asks, and who looks why they cannot be."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from knownface.errors import KnownfaceError, ModelUnavailable
from knownface.store import Store
from knownface.vision.pipeline import Pipeline

log = logging.getLogger(__name__)

OK: Final = "ok"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests can be served.

    `checks` says of each thing "ok" or what is wrong with it, `models` what runs each required one.
    `limits` are what this process takes of what is set for all workers together.
    """

    ready: bool
    checks: Mapping[str, str]
    models: Mapping[str, str]
    limits: Mapping[str, int]


class Examiner:
    """Looks at the database and at the models that every request needs."""

    def __init__(self, store: Store, pipeline: Pipeline) -> None:
        self._store = store
        self._pipeline = pipeline
        self._probing = threading.Lock()

    def look(self, limits: Mapping[str, int], *, started: bool, draining: bool) -> Readiness:
        """Return what there is to say, running each required model unless one just ran."""
        checks = {
            "accepting": "shutting down" if draining else OK,
            "database": _outcome(self._store.ping),
            "models": self._models(started=started),
        }
        if checks["models"] == OK:
            checks["inference"] = self._inference()
        models = {n.name: f"{n.runtime}, {n.threads_said}" for n in self._pipeline.required}
        return Readiness(all(check == OK for check in checks.values()), checks, models, limits)

    def _models(self, *, started: bool) -> str:
        """Tell which required model no run can use; one that was unloaded comes back by itself."""
        if not started:
            return "not loaded yet"
        states: list[tuple[str, str]] = [(n.name, n.state) for n in self._pipeline.required]
        with suppress(KnownfaceError):
            with self._store.snapshot() as tx:
                chosen = tx.embedders()
            states += [(name, self._state(name)) for name in sorted(chosen)]
        return ", ".join(f"{n} is {s}" for n, s in states if s in ("absent", "failed")) or OK

    def _state(self, embedder: str) -> str:
        """Tell how a model is that was chosen for a service; it is loaded when that is called."""
        try:
            state = self._pipeline.open_embedder(embedder).state
        except ModelUnavailable:
            return "absent"
        # Its file came after the start, which reads out of it how to feed it: until the next one
        # every request is refused.
        return "absent" if self._pipeline.embedder_named(embedder).mean is None else state

    def _inference(self) -> str:
        """Trust the last run of each required model if it went well, else run them all once."""
        with self._probing:
            if all(network.healthy for network in self._pipeline.required):
                return OK
            return _outcome(self._pipeline.probe)


def _outcome(check: Callable[[], None]) -> str:
    """Return "ok", or what the check raised: our own words, else only the error's kind."""
    try:
        check()
    except KnownfaceError as error:
        return error.message
    except Exception as error:
        log.exception("readiness check failed")
        return f"failed ({type(error).__name__})"
    return OK
