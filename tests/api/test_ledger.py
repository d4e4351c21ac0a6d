"""What the processes of a server count together, and what is told when any of them is asked."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

import tiny_models
from api.calls import RECOGNITION, new_caller
from knownface.api.ledger import Ledger
from knownface.api.metrics import Metrics
from knownface.api.server import create_server
from knownface.app import build
from knownface.settings import Settings
from knownface.types import ServiceType

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a server of this system is one process"),
    # What is forked here touches nothing that another thread could have held.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

ROUTE = f"{RECOGNITION}/recognize"
SECONDS = 30


def named(name: str, *labels: str) -> str:
    return f"{name}{sorted(labels)}"


def told(metrics: Metrics) -> dict[str, float]:
    """Return what Prometheus would read, by name and labels."""
    return {
        named(sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def counting(
    ledger: Ledger,
    number: int,
    depths: Mapping[str, int] | None = None,
    sizes: Mapping[int, int] | None = None,
) -> Metrics:
    return Metrics(lambda: depths or {}, lambda: sizes or {}, ledger.page(number))


def in_another_process(work: Callable[[], None]) -> None:
    """Run it in a process that then dies, as one does that the system kills."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


def test_whoever_is_asked_tells_what_all_have_counted() -> None:
    ledger = Ledger(2)
    one, other = counting(ledger, 0), counting(ledger, 1)
    for metrics, seconds in ((one, 0.02), (other, 0.02), (other, 7.0)):
        metrics.begin()
        metrics.end(ROUTE, "POST", 200, seconds, 2)
    other.begin()
    one.run("yunet", 4, 0.003, 0.0)
    other.plugin_failure("age", 3)
    for metrics in (one, other):
        found = told(metrics)
        assert found[named("knownface_requests_total", ROUTE, "POST", "200")] == 3
        assert found[named("knownface_faces_total", ROUTE)] == 6
        assert found[named("knownface_request_seconds_count", ROUTE, "POST")] == 3
        assert found[named("knownface_request_seconds_sum", ROUTE, "POST")] == pytest.approx(7.04)
        assert found[named("knownface_request_seconds_bucket", ROUTE, "POST", "0.01")] == 0
        assert found[named("knownface_request_seconds_bucket", ROUTE, "POST", "0.025")] == 2
        assert found[named("knownface_request_seconds_bucket", ROUTE, "POST", "10.0")] == 3
        assert found[named("knownface_request_seconds_bucket", ROUTE, "POST", "+Inf")] == 3
        assert found[named("knownface_model_batch_size_sum", "yunet")] == 4
        assert found[named("knownface_plugin_failures_total", "age")] == 3
        assert found[named("knownface_requests_in_flight")] == 1


def test_a_value_on_a_bound_is_in_that_bucket() -> None:
    metrics = counting(Ledger(), 0)
    metrics.run("yunet", 8, 0.025, 0.0)
    found = told(metrics)
    assert found[named("knownface_model_batch_size_bucket", "yunet", "4.0")] == 0
    assert found[named("knownface_model_batch_size_bucket", "yunet", "8.0")] == 1


def test_what_a_killed_process_counted_stays_and_its_successor_counts_on() -> None:
    ledger = Ledger(2)
    survivor = counting(ledger, 0)

    def work() -> None:
        mortal = counting(ledger, 1, depths={"yunet": 5}, sizes={7: 100})
        mortal.publish()
        for _ in range(3):
            mortal.begin()
            mortal.end(ROUTE, "POST", 200, 0.02, 1)
        mortal.begin()  # and never ends

    in_another_process(work)
    answers = named("knownface_requests_total", ROUTE, "POST", "200")
    assert told(survivor)[answers] == 3

    successor = counting(ledger, 1)
    successor.begin()
    successor.end(ROUTE, "POST", 200, 0.02, 0)
    found = told(survivor)
    assert found[answers] == 4
    assert found[named("knownface_request_seconds_count", ROUTE, "POST")] == 4
    # What held for the dead one holds no more.
    assert found[named("knownface_requests_in_flight")] == 0
    assert named("knownface_model_queue_depth", "yunet") not in found
    assert named("knownface_index_faces", "7") not in found


def test_queues_are_summed_and_an_index_that_each_has_is_told_once() -> None:
    ledger = Ledger(2)
    sizes = {7: 100}
    one = counting(ledger, 0, depths={"yunet": 2}, sizes={7: 99, 8: 5})
    other = counting(ledger, 1, depths={"yunet": 3}, sizes=sizes)
    other.publish()
    found = told(one)
    assert found[named("knownface_model_queue_depth", "yunet")] == 5
    assert found[named("knownface_index_faces", "7")] == 100
    assert found[named("knownface_index_faces", "8")] == 5
    del sizes[7]  # its index was given back
    other.publish()
    assert told(one)[named("knownface_index_faces", "7")] == 99


def test_a_server_tells_the_others_of_its_indexes_without_being_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knownface.api.server.PUBLISH_SECONDS", 0.01)
    ledger = Ledger(2)
    other = counting(ledger, 1)
    with build(settings) as app, TestClient(create_server(app, ledger.page(0))) as client:
        caller = new_caller(app, client, ServiceType.RECOGNITION)
        caller.enrol("Ann", 1)
        caller.send(ROUTE, tiny_models.portrait(1))
        service = app.accounts.services()[-1].id
        give_up = time.monotonic() + SECONDS
        while told(other).get(named("knownface_index_faces", str(service))) != 1:
            assert time.monotonic() < give_up
            time.sleep(0.005)


def test_many_threads_count_without_losing_any() -> None:
    metrics = counting(Ledger(), 0)

    def work() -> None:
        for _ in range(2000):
            metrics.begin()
            metrics.end(ROUTE, "POST", 200, 0.02, 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = told(metrics)
    assert found[named("knownface_requests_total", ROUTE, "POST", "200")] == 8000
    assert found[named("knownface_requests_in_flight")] == 0


def test_labels_without_room_are_not_counted_and_the_others_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Ledger(2, page_bytes=4096)
    metrics = counting(ledger, 0)
    neighbour = counting(ledger, 1)
    for number in range(100):
        metrics.plugin_failure(f"plugin{number}", 1)
    metrics.plugin_failure("plugin0", 1)
    metrics.plugin_failure("plugin99", 1)
    found = told(neighbour)
    assert found[named("knownface_plugin_failures_total", "plugin0")] == 2
    assert named("knownface_plugin_failures_total", "plugin99") not in found
    assert caplog.messages == ["there is no room for more metrics: some are not counted"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells of processes")
def test_memory_and_processor_time_are_those_of_all_processes_the_dead_included() -> None:
    ledger = Ledger(2)
    metrics = counting(ledger, 0)
    before = told(metrics)

    def work() -> None:
        counting(ledger, 1)
        while os.times().user < 0.1:
            pass

    in_another_process(work)
    after = told(metrics)
    seconds = named("process_cpu_seconds_total")
    assert after[seconds] >= before[seconds] + 0.09
    started = named("process_start_time_seconds")
    assert after[started] == before[started]

    release, running = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            counting(ledger, 1)
            os.write(running[1], b"r")
            os.read(release[0], 1)
        finally:
            os._exit(0)  # whatever happens: this must not go on as a second process of tests
    try:
        os.read(running[0], 1)
        both = told(metrics)
    finally:
        os.write(release[1], b"e")
        os.waitpid(pid, 0)
        for end in (*release, *running):
            os.close(end)
    files = named("process_open_fds")
    assert both[files] > 1.5 * after[files]
    assert both[started] == before[started]
