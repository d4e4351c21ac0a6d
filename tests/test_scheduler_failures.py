"""What a scheduler makes of failures, deadlines, full queues and its end."""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from knownface.errors import DeadlineExceeded, Overloaded, Unavailable
from knownface.types import F32
from knownface.vision.scheduler import Scheduler
from schedulers import SECONDS, Callers, Clock, Doubler, Open, item, refuses, slot_threads, until


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
