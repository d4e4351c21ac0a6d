"""Metrics: what is counted, under names that never come from a client."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

import tiny_models
from api.calls import RECOGNITION, Caller, new_caller, serving
from knownface.app import App
from knownface.settings import Settings
from knownface.types import ServiceType


def metrics(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def labels(**named: str) -> frozenset[tuple[str, str]]:
    return frozenset(named.items())


@pytest.fixture
def recognition(settings: Settings) -> Iterator[Caller]:
    with serving(settings) as (app, client):
        yield new_caller(app, client, ServiceType.RECOGNITION)


def test_requests_faces_runs_queues_and_indexes_are_counted(recognition: Caller) -> None:
    for _ in range(2):
        recognition.enrol("Ann", 1)
    recognition.send(f"{RECOGNITION}/recognize", tiny_models.group([1, 2, 3]))
    recognition.send(f"{RECOGNITION}/recognize", tiny_models.blank())
    found = metrics(recognition.client)
    route = f"{RECOGNITION}/recognize"
    assert found["knownface_requests_total", labels(route=route, method="POST", status="200")] == 1
    assert found["knownface_requests_total", labels(route=route, method="POST", status="400")] == 1
    assert found["knownface_request_seconds_count", labels(route=route, method="POST")] == 2
    assert found["knownface_faces_total", labels(route=route)] == 3
    for model, runs in ((tiny_models.DETECTOR, 4), (tiny_models.EMBEDDER, 5)):
        named = labels(model=model)
        assert found["knownface_model_run_seconds_count", named] >= runs
        assert found["knownface_model_batch_size_sum", named] >= runs
        assert found["knownface_model_queued_seconds_count", named] >= runs
        assert found["knownface_model_queue_depth", named] == 0
    sizes = [v for (name, _), v in found.items() if name == "knownface_index_faces"]
    assert sizes == [2.0]
    assert found["knownface_requests_in_flight", frozenset()] == 1
    assert found["process_resident_memory_bytes", frozenset()] > 0


def test_no_metric_holds_what_a_client_made_up(recognition: Caller) -> None:
    recognition.enrol("Ann", 1)
    recognition.get("/made/up")
    recognition("BREW", "/made/up")
    recognition.get(f"/api/v1/static/{recognition.key}/images/x")
    recognition.delete(f"{RECOGNITION}/subjects/Ann")
    text = recognition.get("/metrics").text
    for made_up in ("made", "BREW", recognition.key, "Ann"):
        assert made_up not in text
    assert 'method="OTHER",route="unmatched",status="404"' in text.replace(" ", "") or (
        'route="unmatched",method="OTHER",status="404"' in text.replace(" ", "")
    )


def test_two_programs_in_one_process_count_for_themselves(
    recognition: Caller, settings: Settings
) -> None:
    recognition.enrol("Ann", 1)
    other = settings.model_copy(update={"data": settings.data / "other"})
    with serving(other) as (_, client):
        text = client.get("/metrics").text
    assert "knownface_faces_total{" not in text


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_metrics_can_be_read_while_they_are_written(
    client: TestClient, app: App, path: str
) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            app.pipeline.probe()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            assert client.get(path).status_code == 200
    finally:
        stop.set()
        writer.join()
