from __future__ import annotations

import contextlib
import gc
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from knownface.errors import DeadlineExceeded, Overloaded, Unavailable
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
        self, name: str, items: Sequence[F32], deadline: float | None = None
    ) -> Future[list[tuple[F32, ...]]]:
        """Call from a thread, and return when the items are queued."""
        before = self._scheduler.depth()[name]
        future = self._threads.submit(self._scheduler.run, name, items, deadline)
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


def test_results_come_in_the_order_of_the_items_and_without_a_batch_axis(
    open_scheduler: Open,
) -> None:
    scheduler = open_scheduler(Doubler(), slots=3)
    results = scheduler.run("net", [item(value, 3, 2) for value in range(50)])
    assert [doubled.shape for doubled, _ in results] == [(3, 2)] * 50
    assert [float(doubled[0, 0]) for doubled, _ in results] == [2.0 * v for v in range(50)]
    assert [float(total) for _, total in results] == [6.0 * v for v in range(50)]


def test_no_items_need_no_run(open_scheduler: Open) -> None:
    network = Doubler()
    assert open_scheduler(network).run("net", []) == []
    assert network.batches == []


def test_an_unknown_network_is_refused(open_scheduler: Open) -> None:
    with pytest.raises(KeyError):
        open_scheduler(Doubler()).run("other", [item(1)])


def test_a_name_can_be_registered_only_once(open_scheduler: Open) -> None:
    scheduler = open_scheduler(Doubler())
    with pytest.raises(ValueError, match="'net' is registered already"):
        scheduler.register(Doubler())


def test_a_network_may_be_registered_while_others_are_busy(open_scheduler: Open) -> None:
    busy, late = Doubler("busy"), Doubler("late")
    scheduler = open_scheduler(busy, slots=2)
    first = Callers(scheduler).occupy(busy)
    scheduler.register(late)
    assert float(scheduler.run("late", [item(4)])[0][0][0]) == 8.0
    busy.gate.set()
    first.result(SECONDS)


def test_callers_of_one_network_are_served_first_come_first_served(open_scheduler: Open) -> None:
    network = Doubler()
    scheduler = open_scheduler(network)
    callers = Callers(scheduler)
    first = callers.occupy(network)
    waiting = [callers.call("net", [item(value)]) for value in (1, 2, 3)]
    network.gate.set()
    for future in (first, *waiting):
        future.result(SECONDS)
    assert network.batches == [[0], [1], [2], [3]]


def test_a_free_slot_takes_the_network_whose_first_item_waits_longest(
    open_scheduler: Open,
) -> None:
    a, b = Doubler("a"), Doubler("b")
    order: list[str] = []
    scheduler = open_scheduler(a, b)
    scheduler.on_run = lambda name, *_: order.append(name)
    callers = Callers(scheduler)
    first = callers.occupy(a)
    waiting = [callers.call(name, [item(1)]) for name in ("b", "a", "a", "b")]
    a.gate.set()
    for future in (first, *waiting):
        future.result(SECONDS)
    assert order == ["a", "b", "a", "a", "b"]


def test_a_lone_item_that_finds_a_free_slot_is_run_by_its_caller(open_scheduler: Open) -> None:
    network = Doubler()
    ran_in: list[threading.Thread] = []
    network.raises = lambda _: ran_in.append(threading.current_thread())
    scheduler = open_scheduler(network, slots=2)
    scheduler.run("net", [item(1)])
    assert ran_in == [threading.current_thread()]


def test_callers_and_slots_together_never_run_more_than_there_are_slots(
    open_scheduler: Open,
) -> None:
    network = Doubler()
    counting = threading.Lock()
    at_once, most = 0, 0

    def counted(_: F32) -> None:
        nonlocal at_once, most
        with counting:
            at_once += 1
            most = max(most, at_once)
        threading.Event().wait(0.0005)
        with counting:
            at_once -= 1

    network.raises = counted
    scheduler = open_scheduler(network, slots=2)
    with ThreadPoolExecutor(8) as pool:
        calls = [
            pool.submit(scheduler.run, "net", [item(value)] * (1 + value % 3))
            for value in range(120)
        ]
    assert all(len(call.result()) == 1 + value % 3 for value, call in enumerate(calls))
    assert most == 2


def test_a_newcomer_does_not_overtake_what_waits(open_scheduler: Open) -> None:
    first, second = Doubler("first"), Doubler("second")
    scheduler = open_scheduler(first, second)
    callers = Callers(scheduler)
    running = callers.occupy(first)
    waiting = callers.call("first", [item(1)])
    newcomer = callers.call("second", [item(2)])
    assert not second.batches
    second.raises = lambda _: None if waiting.done() or first.batches[-1] == [1] else ValueError()
    first.gate.set()
    assert len(newcomer.result(SECONDS)) == len(running.result(SECONDS)) == 1


def test_the_items_of_one_call_are_spread_over_all_slots(open_scheduler: Open) -> None:
    network = Doubler()
    meeting = threading.Barrier(3, timeout=SECONDS)

    def meet(_: F32) -> None:
        meeting.wait()

    network.raises = meet
    assert len(open_scheduler(network, slots=3).run("net", [item(v) for v in range(3)])) == 3


def test_a_lone_item_does_not_wait_for_company(open_scheduler: Open) -> None:
    # The clock stands still: whoever waited for time to pass would wait for ever.
    network = Doubler(max_batch=16)
    open_scheduler(network).run("net", [item(1)])
    assert network.batches == [[1]]


def test_what_has_queued_meanwhile_becomes_one_batch(open_scheduler: Open) -> None:
    network = Doubler(max_batch=3)
    scheduler = open_scheduler(network)
    callers = Callers(scheduler)
    first = callers.occupy(network)
    waiting = [callers.call("net", [item(value)]) for value in (1, 2, 3, 4, 5)]
    network.gate.set()
    assert float(first.result(SECONDS)[0][0][0]) == 0.0
    results = [float(future.result(SECONDS)[0][0][0]) for future in waiting]
    assert network.batches == [[0], [1, 2, 3], [4, 5]]
    assert results == [2, 4, 6, 8, 10]


def test_only_items_of_one_shape_share_a_batch_and_none_is_overtaken(open_scheduler: Open) -> None:
    network = Doubler(max_batch=8)
    scheduler = open_scheduler(network)
    callers = Callers(scheduler)
    first = callers.occupy(network)
    mixed = [item(1, 2), item(2, 2), item(3, 5), item(4, 2)]
    future = callers.call("net", mixed)
    network.gate.set()
    first.result(SECONDS)
    assert [doubled.shape for doubled, _ in future.result(SECONDS)] == [(2,), (2,), (5,), (2,)]
    assert network.batches == [[0], [1, 2], [3], [4]]


def test_a_network_pinned_at_one_item_never_sees_two(open_scheduler: Open) -> None:
    network = Doubler(max_batch=1)
    open_scheduler(network).run("net", [item(value) for value in range(5)])
    assert network.batches == [[0], [1], [2], [3], [4]]


def poison(tensor: F32) -> Exception | None:
    return ValueError("poison") if (tensor == 13).any() else None


def test_a_bad_item_fails_its_own_caller_and_nobody_else(open_scheduler: Open) -> None:
    network = Doubler(max_batch=4)
    network.raises = poison
    scheduler = open_scheduler(network)
    callers = Callers(scheduler)
    first = callers.occupy(network)
    good = callers.call("net", [item(1)])
    bad = callers.call("net", [item(13)])
    late = callers.call("net", [item(2), item(3)])
    network.gate.set()
    first.result(SECONDS)
    assert [float(d[0]) for d, _ in good.result(SECONDS)] == [2]
    assert [float(d[0]) for d, _ in late.result(SECONDS)] == [4, 6]
    with pytest.raises(ValueError, match="poison"):
        bad.result(SECONDS)
    assert network.batches == [[0], [1, 13, 2, 3], [1], [13], [2], [3]]


def test_a_batch_whose_outputs_cannot_be_split_is_run_item_by_item(open_scheduler: Open) -> None:
    class OneRow(Doubler):
        def run(self, tensor: F32) -> tuple[F32, ...]:
            return (super().run(tensor)[0][:1],)

    network = OneRow(max_batch=4)
    scheduler = open_scheduler(network)
    assert [float(out[0]) for (out,) in scheduler.run("net", [item(1), item(2)])] == [2, 4]


def test_after_one_item_failed_the_rest_of_its_call_is_not_run(open_scheduler: Open) -> None:
    network = Doubler()
    network.raises = poison
    scheduler = open_scheduler(network)
    with pytest.raises(ValueError, match="poison"):
        scheduler.run("net", [item(1), item(13), item(2), item(3)])
    scheduler.run("net", [item(4)])
    assert network.batches == [[1], [13], [4]]


def test_an_item_that_ends_after_its_call_has_failed_is_ignored(open_scheduler: Open) -> None:
    network = Doubler()
    scheduler = open_scheduler(network, slots=2)
    slow_may_end = threading.Event()

    def slow_or_bad(tensor: F32) -> Exception | None:
        if (tensor == 1).all():
            assert slow_may_end.wait(SECONDS)
        return poison(tensor)

    network.raises = slow_or_bad
    with pytest.raises(ValueError, match="poison"):
        scheduler.run("net", [item(1), item(13)])
    slow_may_end.set()
    assert len(scheduler.run("net", [item(2), item(3)])) == 2


def test_a_failure_does_not_keep_the_tensors_alive(open_scheduler: Open) -> None:
    class Bad(Doubler):
        def run(self, tensor: F32) -> tuple[F32, ...]:
            raise ValueError(tensor.shape)

    scheduler = open_scheduler(Bad())
    tensor = item(13)
    seen = weakref.ref(tensor)
    gc.disable()
    try:
        # Not pytest.raises, which keeps the error itself.
        failed = False
        try:
            scheduler.run("net", [tensor])
        except ValueError:
            failed = True
        assert failed
        del tensor
        until(lambda: seen() is None)
    finally:
        gc.enable()


def test_an_item_whose_deadline_passed_in_the_queue_is_dropped(
    open_scheduler: Open, clock: Clock
) -> None:
    network = Doubler(max_batch=4)
    scheduler = open_scheduler(network)
    callers = Callers(scheduler)
    first = callers.occupy(network)
    late = callers.call("net", [item(1), item(2)], deadline=clock.now + 5)
    patient = callers.call("net", [item(3)], deadline=clock.now + 50)
    endless = callers.call("net", [item(4)])
    clock.now += 6
    network.gate.set()
    first.result(SECONDS)
    with pytest.raises(DeadlineExceeded):
        late.result(SECONDS)
    assert float(patient.result(SECONDS)[0][0][0]) == 6
    assert float(endless.result(SECONDS)[0][0][0]) == 8
    assert network.batches == [[0], [3, 4]]


def test_a_run_that_began_in_time_counts_though_it_ends_late(
    open_scheduler: Open, clock: Clock
) -> None:
    network = Doubler()

    def passes(_: F32) -> None:
        clock.now += 100

    network.raises = passes
    scheduler = open_scheduler(network)
    assert len(scheduler.run("net", [item(1)], clock.now + 1)) == 1


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(open_scheduler: Open) -> None:
    network, other = Doubler(), Doubler("other")
    scheduler = open_scheduler(network, other, queue_limit=2)
    callers = Callers(scheduler)
    first = callers.occupy(network)
    waiting = callers.call("net", [item(1)])
    with pytest.raises(Overloaded):
        scheduler.run("net", [item(2), item(3)])
    assert scheduler.depth() == {"net": 1, "other": 0}
    free = callers.call("other", [item(4)])
    network.gate.set()
    for future in (first, waiting, free):
        future.result(SECONDS)
    assert len(scheduler.run("net", [item(5), item(6)])) == 2
    assert network.batches == [[0], [1], [5], [6]]


def test_a_call_larger_than_the_queue_is_served_when_nothing_else_waits(
    open_scheduler: Open,
) -> None:
    scheduler = open_scheduler(Doubler(), queue_limit=2)
    assert len(scheduler.run("net", [item(value) for value in range(10)])) == 10


def test_what_is_no_tensor_fails_its_caller_before_it_is_queued(open_scheduler: Open) -> None:
    network = Doubler()
    scheduler = open_scheduler(network)
    with pytest.raises(AttributeError):
        scheduler.run("net", [item(1), [2.0]])  # type: ignore[list-item] # the mistake to be found
    assert scheduler.depth() == {"net": 0}
    assert len(scheduler.run("net", [item(3)])) == 1
    assert network.batches == [[3]]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError])
def test_nothing_that_a_network_raises_ends_a_slot(
    open_scheduler: Open, error: type[BaseException]
) -> None:
    network = Doubler()
    scheduler = open_scheduler(network, slots=2)
    before = slot_threads()
    network.raises = lambda _: error()
    for _ in range(5):
        with pytest.raises((RuntimeError, MemoryError)):
            scheduler.run("net", [item(1), item(2)])
    network.raises = lambda _: None
    assert len(scheduler.run("net", [item(1), item(2)])) == 2
    assert slot_threads() == before


def test_a_killed_slot_answers_its_callers_and_goes_on(
    open_scheduler: Open, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    network = Doubler()
    scheduler = open_scheduler(network, slots=2)
    before = slot_threads()
    clock.kills = 40
    # Whether it dies waiting for work or with an item in its hands: nobody waits for ever.
    while clock.kills:
        with contextlib.suppress(RuntimeError):
            scheduler.run("net", [item(value) for value in range(4)])
    assert len(scheduler.run("net", [item(value) for value in range(4)])) == 4
    assert slot_threads() == before
    assert "slot failed and goes on" in caplog.text


def test_a_slot_that_fails_outside_the_network_answers_its_callers_and_goes_on(
    open_scheduler: Open,
) -> None:
    scheduler = open_scheduler(Doubler(max_batch=4))

    def deadly(*_: object) -> None:
        raise SystemExit

    scheduler.on_run = deadly
    with pytest.raises(RuntimeError, match="SystemExit"):
        scheduler.run("net", [item(1), item(2)])
    scheduler.on_run = None
    assert len(scheduler.run("net", [item(1)])) == 1


def test_the_observer_is_told_of_each_run_before_its_caller(
    open_scheduler: Open, clock: Clock
) -> None:
    network = Doubler(max_batch=4)
    scheduler = open_scheduler(network)
    told: list[tuple[str, int, float, float]] = []
    scheduler.on_run = lambda *run: told.append(run)

    def lasts(_: F32) -> None:
        clock.now += 0.25

    network.raises = lasts
    callers = Callers(scheduler)
    first = callers.occupy(network)
    waiting = callers.call("net", [item(1), item(2)])
    clock.now += 3
    network.gate.set()
    waiting.result(SECONDS)
    first.result(SECONDS)
    assert told == [("net", 1, 3.25, 0.0), ("net", 2, 0.25, 3.25)]


def test_a_failing_observer_costs_nobody_a_result(
    open_scheduler: Open, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = open_scheduler(Doubler())

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    scheduler.on_run = fails
    assert len(scheduler.run("net", [item(1)])) == 1
    assert "observer of runs failed" in caplog.text


def test_closing_runs_what_waits_and_returns_when_every_slot_has_ended(
    open_scheduler: Open,
) -> None:
    network = Doubler()
    scheduler = open_scheduler(network)
    threads = slot_threads()
    order: list[str] = []
    scheduler.on_run = lambda *_: order.append("ran")
    callers = Callers(scheduler)
    first = callers.occupy(network)
    waiting = [callers.call("net", [item(value)]) for value in (1, 2)]

    def close() -> None:
        scheduler.close()
        order.append("closed")

    closing = threading.Thread(target=close)
    closing.start()
    until(lambda: refuses(scheduler))
    network.gate.set()
    closing.join(SECONDS)
    assert order == ["ran", "ran", "ran", "closed"]
    assert [float(f.result(SECONDS)[0][0][0]) for f in (first, *waiting)] == [0, 2, 4]
    assert not any(thread.is_alive() for thread in threads)


def test_ctrl_c_in_a_run_reaches_the_caller_and_frees_its_slot(open_scheduler: Open) -> None:
    network = Doubler()
    scheduler = open_scheduler(network)
    network.raises = lambda _: KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        scheduler.run("net", [item(1)])
    network.raises = lambda _: None
    assert len(scheduler.run("net", [item(1)])) == 1


def test_closing_without_draining_refuses_what_waits(open_scheduler: Open) -> None:
    network = Doubler()
    scheduler = open_scheduler(network)
    callers = Callers(scheduler)
    first = callers.occupy(network)
    waiting = callers.call("net", [item(1), item(2)])
    closing = threading.Thread(target=scheduler.close, kwargs={"drain": False})
    closing.start()
    with pytest.raises(Unavailable, match="stopping"):
        waiting.result(SECONDS)
    network.gate.set()
    closing.join(SECONDS)
    assert not closing.is_alive()
    assert len(first.result(SECONDS)) == 1
    assert network.batches == [[0]]


def test_a_closed_scheduler_refuses_and_may_be_closed_again(open_scheduler: Open) -> None:
    scheduler = open_scheduler(Doubler())
    scheduler.close()
    scheduler.close()
    with pytest.raises(Unavailable, match="stopping"):
        scheduler.run("net", [item(1)])


def test_what_an_interrupted_caller_left_in_the_queue_is_not_run(open_scheduler: Open) -> None:
    network = Doubler()
    scheduler = open_scheduler(network)
    first = Callers(scheduler).occupy(network)
    me = threading.get_ident()

    def interrupt_when_queued() -> None:
        until(lambda: scheduler.depth()["net"] == 1)
        signal.pthread_kill(me, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt_when_queued).start()
        with pytest.raises(KeyboardInterrupt):
            scheduler.run("net", [item(1)])
    finally:
        signal.signal(signal.SIGINT, before)
    network.gate.set()
    first.result(SECONDS)
    scheduler.run("net", [item(2)])
    assert network.batches == [[0], [2]]


def test_at_least_one_slot_there_always_is(open_scheduler: Open) -> None:
    assert len(open_scheduler(Doubler(), slots=0).run("net", [item(1)])) == 1


def test_many_callers_each_get_their_own_results_while_some_are_poisoned() -> None:
    network = Doubler(max_batch=4)
    network.raises = poison
    scheduler = Scheduler(2)
    scheduler.register(network)

    def calls(seed: int) -> int:
        rng = np.random.default_rng(seed)
        failed = 0
        for _ in range(100):
            values = rng.integers(0, 40, size=rng.integers(1, 6))
            shapes = rng.integers(1, 3, size=len(values))
            items = [item(float(v), int(s)) for v, s in zip(values, shapes, strict=True)]
            try:
                results = scheduler.run("net", items)
            except ValueError:
                assert 13 in values
                failed += 1
                continue
            assert 13 not in values
            assert [float(doubled[0]) for doubled, _ in results] == [2.0 * v for v in values]
        return failed

    with ThreadPoolExecutor(8) as clients:
        assert sum(clients.map(calls, range(8))) > 10
    scheduler.close()
    assert scheduler.depth() == {"net": 0}
