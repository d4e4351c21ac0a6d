"""Who is served when, and what it gets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from knownface.types import F32
from schedulers import SECONDS, Callers, Doubler, Open, item


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


def test_what_was_begun_is_finished_before_what_came_later(open_scheduler: Open) -> None:
    detect, embed = Doubler("detect"), Doubler("embed")
    order: list[str] = []
    scheduler = open_scheduler(detect, embed)
    scheduler.on_run = lambda name, *_: order.append(name)
    callers = Callers(scheduler)
    turn = scheduler.turn()
    running = callers.occupy(detect)
    waiting = [callers.call("detect", [item(2)]), callers.call("embed", [item(1)], turn=turn)]
    detect.gate.set()
    for future in (running, *waiting):
        future.result(SECONDS)
    assert order == ["detect", "embed", "detect"]


def test_many_items_give_way_to_what_comes_meanwhile(open_scheduler: Open) -> None:
    network = Doubler()
    scheduler = open_scheduler(network)
    callers = Callers(scheduler)
    running = callers.occupy(network)
    waiting = [callers.call("net", [item(value)] * count) for value, count in ((1, 4), (2, 1))]
    network.gate.set()
    for future in (running, *waiting):
        future.result(SECONDS)
    assert network.batches == [[0], [1], [1], [2], [1], [1]]


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
