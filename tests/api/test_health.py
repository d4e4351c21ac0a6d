"""Health, readiness, and what the server tells of itself without a key."""

from __future__ import annotations

import importlib.util
import threading

import pytest
from fastapi.testclient import TestClient

from api.calls import serving
from knownface.api.server import create_server
from knownface.app import App, build
from knownface.errors import ConfigurationError
from knownface.settings import Settings
from knownface.vision.runtimes import openvino_installed
from tiny_models import DETECTOR, EMBEDDER


def test_a_live_process_is_healthy(client: TestClient) -> None:
    answer = client.get("/healthz")
    assert answer.json()["status"] == "ok"
    assert answer.headers["cache-control"] == "no-store"


def test_readiness_says_what_was_looked_at(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert set(answer.json()["checks"].values()) == {"ok"}


def test_readiness_says_what_runs_each_required_model(client: TestClient) -> None:
    models = client.get("/readyz").json()["models"]
    assert set(models) == {DETECTOR, EMBEDDER}
    assert models[DETECTOR].startswith("onnxruntime 1.")
    chosen = "openvino 20" if openvino_installed() else "onnxruntime 1."
    assert models[EMBEDDER].startswith(chosen)
    assert all(said.endswith(", 1 thread") for said in models.values())


def test_a_server_may_be_told_its_runtime(settings: Settings) -> None:
    with serving(settings, runtime="onnxruntime") as (_, client):
        models = client.get("/readyz").json()["models"]
        assert all(said.startswith("onnxruntime 1.") for said in models.values())


def test_a_runtime_that_is_not_installed_is_refused_at_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(ConfigurationError, match="KNOWNFACE_RUNTIME is openvino, which is not"):
        build(settings.model_copy(update={"runtime": "openvino"}))


def test_a_server_rests_after_work(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knownface.api.server.REST_SECONDS", 0.05)
    with serving(settings) as (app, client):
        rested = threading.Event()
        rests: list[int] = []

        def rest() -> None:
            rests.append(app.scheduler.calls)
            rested.set()

        monkeypatch.setattr(app, "rest", rest)
        app.pipeline.probe()
        assert rested.wait(20)
        assert rests == [app.scheduler.calls]
        assert client.get("/healthz").status_code == 200


def test_a_draining_server_is_not_ready_but_serves(settings: Settings) -> None:
    with serving(settings) as (app, client):
        app.begin_drain()
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["status"] == "not ready"
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/v1/config").status_code == 200


def test_a_server_without_its_database_is_not_ready(settings: Settings) -> None:
    with serving(settings) as (app, client):
        app.store.close()
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["database"] != "ok"


def test_the_app_is_started_with_the_server_and_closed_with_it(settings: Settings) -> None:
    app = build(settings)
    with TestClient(create_server(app)) as client:
        assert client.get("/readyz").status_code == 200
    assert app.draining


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/v1/config", "/docs"])
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_limits_and_settings_are_told(settings: Settings) -> None:
    with serving(settings, max_file_size=1000, save_images_to_db=False) as (_, client):
        assert client.get("/api/v1/config").json()["clientMaxFileSize"] == 1000
        assert client.get("/api/v1/consistence/status/").json()["saveImagesToDB"] is False


def test_the_server_works_below_a_prefix(app: App) -> None:
    with TestClient(create_server(app), root_path="/faces", base_url="http://test/faces") as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/v1/config", headers={"origin": "null"}).headers[
            "access-control-allow-origin"
        ]
