"""A scheduler whose networks, callers and clock do what a test tells them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from knownface.errors import Unavailable
from knownface.types import F32
from knownface.vision.scheduler import Scheduler

SECONDS = 20


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        # So many looks of a slot at the clock end as if someone had killed its thread.
        self.kills = 0

    def __call__(self) -> float:
        if self.kills and threading.current_thread() in slot_threads():
            self.kills -= 1
            raise SystemExit
        return self.now


class Doubler:
    """A network that doubles; it remembers its batches, and a test can hold its runs back."""

    def __init__(self, name: str = "net", max_batch: int = 1) -> None:
        self.name = name
        self.max_batch = max_batch
        self.batches: list[list[float]] = []
        self.raises: Callable[[F32], BaseException | None] = lambda _: None
        self.running = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def run(self, tensor: F32) -> tuple[F32, ...]:
        self.batches.append([float(item.flat[0]) for item in tensor])
        self.running.release()
        assert self.gate.wait(SECONDS)
        if error := self.raises(tensor):
            raise error
        return tensor * 2, tensor.reshape(len(tensor), -1).sum(axis=1)


def item(value: float, *shape: int) -> F32:
    return np.full(shape or (2,), value, np.float32)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_scheduler(clock: Clock) -> Iterator[Callable[..., Scheduler]]:
    opened: list[Scheduler] = []

    def opens(*networks: Doubler, slots: int = 1, queue_limit: int = 1024) -> Scheduler:
        scheduler = Scheduler(slots, queue_limit=queue_limit, clock=clock)
        for network in networks:
            scheduler.register(network)
        opened.append(scheduler)
        return scheduler

    yield opens
    for scheduler in opened:
        scheduler.close(drain=False)


Open = Callable[..., Scheduler]


class Callers:
    """Threads that call the scheduler, each known to wait before the next one starts."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._threads = ThreadPoolExecutor(32)

    def occupy(self, network: Doubler) -> Future[list[tuple[F32, ...]]]:
        """Fill the only slot with a run that lasts until `network.gate` is set."""
        network.gate.clear()
        first = self._threads.submit(self._scheduler.run, network.name, [item(0)])
        assert network.running.acquire(timeout=SECONDS)
        return first

    def call(
        self,
        name: str,
        items: Sequence[F32],
        deadline: float | None = None,
        turn: int | None = None,
    ) -> Future[list[tuple[F32, ...]]]:
        """Call from a thread, and return when the items are queued."""
        before = self._scheduler.depth()[name]
        future = self._threads.submit(self._scheduler.run, name, items, deadline, turn=turn)
        until(lambda: self._scheduler.depth()[name] == before + len(items) or future.done())
        return future


def until(condition: Callable[[], bool]) -> None:
    """Look until the condition holds; nothing is assumed about how long that takes."""
    give_up = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up
        threading.Event().wait(0.0005)


def refuses(scheduler: Scheduler) -> bool:
    """Tell whether the scheduler has begun to close: it says so before it looks at the name."""
    try:
        scheduler.run("nobody", [item(0)])
    except Unavailable:
        return True
    except KeyError:
        return False
    raise AssertionError


def slot_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("slot-")]
