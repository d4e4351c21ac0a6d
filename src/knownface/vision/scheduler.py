"""Who uses the cores: a few slots run all networks, each network has a queue, there is no timer.

A free slot takes from the queue whose first item has the lowest place, as many items of one shape
as the network takes at once. So one caller alone is served at once, and under load batches form by
themselves.

Places are given by turns, one to a picture: what was begun is finished before what came later is
begun. The items of a call have one place after the other, so that a picture of a hundred faces
lets those that come meanwhile go between. docs/adr/0029 has the figures.

Where a slot is free and nothing waits, a caller with one item takes the slot's place and runs it in
its own thread: waking another one, and being woken by it, is what costs a lone request most.
"""

from __future__ import annotations

import bisect
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from knownface.errors import DeadlineExceeded, Overloaded, Unavailable
from knownface.types import F32

log = logging.getLogger(__name__)

Outputs = tuple[F32, ...]
Observer = Callable[[str, int, float, float], None]

STOPPING = "The server is stopping. Try again in a moment."


class Runnable(Protocol):
    """What can be scheduled.

    `run` takes float32 [B, …] with B <= `max_batch`; axis 0 of each output is B, too.
    """

    @property
    def name(self) -> str: ...

    @property
    def max_batch(self) -> int: ...

    def run(self, tensor: F32) -> Outputs: ...


class Scheduler:
    """A fixed number of slots, that run networks for any number of callers.

    `queue_limit` bounds the items that wait for one network. `clock` gives seconds; deadlines are
    its times. `on_run(name, batch, seconds, queued)` is told of each run that succeeded: how many
    items, how long the run took and how long its first item had waited. It is called before the
    callers get their results.
    """

    def __init__(
        self,
        slots: int,
        *,
        queue_limit: int = 1024,
        clock: Callable[[], float] = time.monotonic,
        on_run: Observer | None = None,
    ) -> None:
        self.on_run = on_run
        self._clock = clock
        self._queue_limit = queue_limit
        self._queues: dict[str, _Queue] = {}
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._calls = 0
        self._turns = 0
        self._free = max(1, slots)
        self._closing = False
        # Daemons: a program that fails before `close` must still be able to end.
        self._slots = [
            threading.Thread(target=self._live, name=f"slot-{number}", daemon=True)
            for number in range(1, self._free + 1)
        ]
        for slot in self._slots:
            slot.start()

    def register(self, network: Runnable) -> None:
        """Give the network a queue under its name; ValueError when the name is taken."""
        with self._lock:
            if network.name in self._queues:
                raise ValueError(f"network {network.name!r} is registered already")
            self._queues[network.name] = _Queue(network)

    def turn(self) -> int:
        """Return a turn behind all that were given so far, for calls that belong together."""
        with self._lock:
            self._turns += 1
            return self._turns

    def run(
        self,
        name: str,
        items: Sequence[F32],
        deadline: float | None = None,
        *,
        turn: int | None = None,
    ) -> list[Outputs]:
        """Run a network on each item, and return the outputs in the order of the items.

        Neither an item nor its outputs have a batch axis. Without a `turn` the call comes after all
        others; with an earlier one it is served as if it had been made then. It blocks; its items
        go to the free slots, a lone one in the caller's own thread. What the network raises about
        an item is raised here, and only here: callers whose items shared its batch get their
        results. Raises Overloaded when the queue is full, DeadlineExceeded when an item's turn
        comes later than `deadline`, Unavailable after `close`, and KeyError for an unknown name.
        """
        if not items:
            return []
        call = _Call(len(items))
        with self._lock:
            if self._closing:
                raise Unavailable(STOPPING)
            queue = self._queues[name]
            # Whoever waits was here before: there must be none.
            here = len(items) == 1 and self._free and not self._waiting()
            self._submit(queue, call, items, deadline, turn)
            batch = _Batch()
            if here:
                self._begin(batch, queue)
            else:
                self._work.notify(min(len(items), self._free))
        try:
            if batch.items:
                self._run_here(batch)
            return call.wait()
        except BaseException:
            # A failed item or Ctrl-C: nobody wants the rest any more.
            call.over = True
            raise

    @property
    def calls(self) -> int:
        """How many calls of `run` there have been."""
        return self._calls

    def depth(self) -> dict[str, int]:
        """Return how many items wait for each network; those that run do not count."""
        with self._lock:
            return {name: len(queue.items) for name, queue in self._queues.items()}

    def close(self, drain: bool = True) -> None:
        """Refuse new work, run what waits (or refuse that, too), and wait until each slot ended."""
        with self._lock:
            self._closing = True
            if not drain:
                for queue in self._queues.values():
                    queue.refuse_all()
            self._work.notify_all()
        for slot in self._slots:
            slot.join()
        with self._lock:
            self._idle.wait_for(lambda: self._free == len(self._slots))

    def _run_here(self, batch: _Batch) -> None:
        """Serve a batch as a slot does, in the place of one."""
        try:
            self._attempt(batch.network, batch.items)
        finally:
            with self._lock:
                self._end(batch)
                if self._waiting():
                    self._work.notify()

    def _waiting(self) -> list[_Queue]:
        return [queue for queue in self._queues.values() if queue.items]

    def _begin(self, batch: _Batch, queue: _Queue) -> None:
        """Fill a batch, and take a slot's place if there is anything to be run."""
        queue.fill(batch, self._clock())
        self._free -= bool(batch.items)

    def _end(self, batch: _Batch) -> None:
        """Make room for another batch, the lock being held."""
        if batch.items:
            batch.items = []
            self._free += 1
            if self._closing:
                self._idle.notify_all()

    def _submit(
        self,
        queue: _Queue,
        call: _Call,
        items: Sequence[F32],
        deadline: float | None,
        turn: int | None,
    ) -> None:
        # An empty queue takes any call, or a picture of very many faces could never be served.
        if queue.items and len(queue.items) + len(items) > self._queue_limit:
            raise Overloaded
        now = self._clock()
        last = math.inf if deadline is None else deadline
        self._calls += 1
        if turn is None:
            self._turns += 1
            turn = self._turns
        # All are made before any is queued: a wrong item must hit its caller and no slot.
        made = [
            _Item(call, index, tensor, (tensor.shape, tensor.dtype), turn + index, now, last)
            for index, tensor in enumerate(items)
        ]
        for item in made:
            bisect.insort(queue.items, item, key=_place)

    def _live(self) -> None:
        """Serve until `close`; whatever goes wrong ends one batch and never the slot."""
        batch = _Batch()
        while True:
            try:
                while self._take(batch):
                    self._serve(batch)
                return
            except BaseException as error:
                # Even SystemExit: a slot that dies leaves its callers waiting for ever.
                log.critical("slot failed and goes on", exc_info=error)
                self._settle(batch.items, [_ordinary(error) for _ in batch.items])

    def _take(self, batch: _Batch) -> bool:
        """End a batch, wait for work and begin the next; False when none is left or will come."""
        with self._lock:
            self._end(batch)
            while True:
                waiting = self._waiting()
                if waiting and self._free:
                    self._begin(batch, min(waiting, key=_first))
                    if batch.items:
                        return True
                elif self._closing and not waiting:
                    return False
                else:
                    self._work.wait()

    def _serve(self, batch: _Batch) -> None:
        if not self._attempt(batch.network, batch.items):
            # One bad item must not cost the others their results: which one is it?
            for item in batch.items:
                self._attempt(batch.network, [item])

    def _attempt(self, network: Runnable, items: Sequence[_Item]) -> bool:
        """Run the items as one batch and settle them; False when several of them failed together.

        No error may stay in a variable of this frame or of its callers: its traceback refers to
        these frames, and the cycle would keep the tensors alive.
        """
        started = self._clock()
        tensors = [item.tensor for item in items]
        try:
            # A lone item, on a CPU every one, is not copied.
            outputs = network.run(tensors[0][None] if len(tensors) == 1 else np.stack(tensors))
            split = [tuple(output[row] for output in outputs) for row in range(len(items))]
        except KeyboardInterrupt:  # meant for the program: the caller may be its main thread
            raise
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            if len(items) > 1:
                return False
            self._settle(items, [_ordinary(error)])
            return True
        if self.on_run:
            queued = started - items[0].queued_at
            try:
                self.on_run(network.name, len(items), self._clock() - started, queued)
            except Exception:
                log.exception("observer of runs failed")
        self._settle(items, split)
        return True

    def _settle(self, items: Sequence[_Item], outcomes: Sequence[Outputs | Exception]) -> None:
        with self._lock:
            for item, outcome in zip(items, outcomes, strict=True):
                item.call.settle(item.index, outcome)


class _Call:
    """One `Scheduler.run`: it ends with the last of its items or with the first that fails."""

    __slots__ = ("_done", "_error", "_pending", "_results", "over")

    def __init__(self, items: int) -> None:
        self.over = False
        self._pending = items
        self._results: list[Outputs] = [()] * items
        self._error: Exception | None = None
        # A bare lock is the cheapest thing that one thread can wait for and another can release.
        self._done = threading.Lock()
        self._done.acquire()

    def settle(self, index: int, outcome: Outputs | Exception) -> None:
        """Take the outcome of one item; the scheduler's lock is held."""
        if self.over:
            return
        if isinstance(outcome, Exception):
            self._error = outcome
        else:
            self._results[index] = outcome
            self._pending -= 1
        if self._error or not self._pending:
            self.over = True
            self._done.release()

    def wait(self) -> list[Outputs]:
        self._done.acquire()
        # An error that refers to itself through its traceback would keep the tensors alive.
        error, self._error = self._error, None
        if error is None:
            return self._results
        try:
            raise error
        finally:
            del error


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """One tensor that waits; those of lower places are served first."""

    call: _Call
    index: int
    tensor: F32
    kind: tuple[object, ...]
    place: int
    queued_at: float
    deadline: float


class _Batch:
    """What is being run in one slot: if that fails in any way, these items have to be settled."""

    __slots__ = ("items", "network")

    network: Runnable

    def __init__(self) -> None:
        self.items: list[_Item] = []


class _Queue:
    """A network and the items that wait for it, first come first served."""

    __slots__ = ("_max_batch", "_network", "items")

    def __init__(self, network: Runnable) -> None:
        self._network = network
        self._max_batch = max(1, network.max_batch)
        self.items: deque[_Item] = deque()

    def fill(self, batch: _Batch, now: float) -> None:
        """Move the first items of one shape into the empty batch, and drop dead ones on the way."""
        batch.network = self._network
        while self.items and len(batch.items) < self._max_batch:
            item = self.items[0]
            if now > item.deadline:
                item.call.settle(item.index, DeadlineExceeded())
            if not item.call.over:
                if batch.items and batch.items[0].kind != item.kind:
                    return
                batch.items.append(item)
            self.items.popleft()

    def refuse_all(self) -> None:
        while self.items:
            item = self.items.popleft()
            item.call.settle(item.index, Unavailable(STOPPING))


def _place(item: _Item) -> int:
    return item.place


def _first(queue: _Queue) -> int:
    return queue.items[0].place


def _ordinary(error: BaseException) -> Exception:
    """Return an error that may be raised in another thread; SystemExit would end that one, too."""
    if isinstance(error, Exception):
        return error
    wrapped = RuntimeError(f"a model run was ended by {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped
