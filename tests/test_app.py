"""The wiring of the program: start, readiness, drain, close, and the folder it keeps things in."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from faces import code_of
from knownface import app as app_module
from knownface.app import App, build, cores, open_store
from knownface.errors import ConfigurationError, ModelUnavailable, Unavailable
from knownface.recognition import Options
from knownface.settings import Settings
from knownface.store import Store
from knownface.types import ServiceType
from knownface.vision.session import Network

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """Return a maker of settings for small real models and a data folder of their own."""
    models = tmp_path / "models"
    tiny_models.write_models(models)

    def make(**changes: object) -> Settings:
        given: dict[str, object] = {
            "data": tmp_path / "data",
            "models_dir": models,
            "detector": tiny_models.DETECTOR,
            "embedder": tiny_models.EMBEDDER,
            "slots": 1,
            "offline": True,
        }
        return Settings(**given | changes)  # type: ignore[arg-type]  # pydantic checks them

    return make


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def network(app: App, name: str = tiny_models.EMBEDDER) -> Network:
    return app.pipeline.networks[name]


def test_a_started_app_is_ready_and_recognises(make_settings: MakeSettings) -> None:
    with build(make_settings()) as app:
        assert app.readiness().ready
        service, _ = app.accounts.create_service("a", "s", ServiceType.RECOGNITION)
        app.recognition.add_example(service, "Ada", tiny_models.portrait(1), Options())
        found = app.recognition.recognize(service, tiny_models.portrait(1), Options())
        assert [match.subject for match in found[0].matches] == ["Ada"]


def test_an_app_that_was_not_started_is_not_ready(make_settings: MakeSettings) -> None:
    app = build(make_settings())
    try:
        readiness = app.readiness()
        assert not readiness.ready
        assert readiness.checks["database"] == "ok"
        assert readiness.checks["models"] == "not loaded yet"
    finally:
        app.close()


def test_starting_and_closing_twice_do_nothing_more(make_settings: MakeSettings) -> None:
    app = build(make_settings())
    app.start()
    app.start()
    assert app.readiness().ready
    app.close()
    app.close()


def test_draining_is_not_ready_but_still_serves(make_settings: MakeSettings) -> None:
    with build(make_settings()) as app:
        app.begin_drain()
        readiness = app.readiness()
        assert not readiness.ready
        assert readiness.checks["accepting"] == "shutting down"
        assert len(app.recognition.detect(tiny_models.portrait(1), Options())) == 1


def test_readiness_tells_of_a_database_that_is_gone(make_settings: MakeSettings) -> None:
    with build(make_settings()) as app:
        app.store.close()
        for path in app.settings.data.glob("knownface.db*"):
            path.unlink()
        app.settings.data.rmdir()
        readiness = app.readiness()
        assert not readiness.ready
        assert readiness.checks["database"] != "ok"
        assert str(app.settings.data) not in readiness.checks["database"]


def test_a_model_unloaded_while_it_was_idle_is_ready_for_the_next_request(
    make_settings: MakeSettings,
) -> None:
    with build(make_settings()) as app:
        network(app).unload()
        assert app.readiness().ready
        service, _ = app.accounts.create_service("a", "s", ServiceType.RECOGNITION)
        added = app.recognition.add_example(service, "Ada", tiny_models.portrait(1), Options())
        assert added.subject == "Ada"


def test_readiness_tells_of_a_model_that_cannot_come_back(make_settings: MakeSettings) -> None:
    with build(make_settings()) as app:
        embedder = network(app)
        embedder.unload()
        assert embedder.path
        embedder.path.unlink()
        readiness = app.readiness()
        assert not readiness.ready
        assert readiness.checks["models"] == "tiny-embedder is absent"


def test_after_a_failed_run_readiness_runs_the_models_itself(make_settings: MakeSettings) -> None:
    with build(make_settings()) as app:
        embedder = network(app)
        with pytest.raises(Exception, match=r"\w"):
            embedder.run(np.zeros((1, 1), np.float32))
        assert not embedder.healthy
        assert app.readiness().ready
        assert embedder.healthy


def test_two_apps_share_a_process_and_a_data_folder(make_settings: MakeSettings) -> None:
    with build(make_settings()) as one, build(make_settings()) as two:
        service, key = one.accounts.create_service("a", "s", ServiceType.RECOGNITION)
        assert two.accounts.authorize(key, ServiceType.RECOGNITION) == service
        one.recognition.add_example(service, "Ada", tiny_models.portrait(1), Options())
        found = two.recognition.recognize(service, tiny_models.portrait(1), Options())
        assert found[0].matches[0].subject == "Ada"
        one.known_faces.delete_subject(service, "Ada")
        found = two.recognition.recognize(service, tiny_models.portrait(1), Options())
        assert found[0].matches == []


def test_closing_lets_running_requests_finish(make_settings: MakeSettings) -> None:
    app = build(make_settings())
    app.start()
    running, release = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        running.set()
        release.wait(30)

    app.scheduler.on_run = hold
    faces: list[int] = []
    request = threading.Thread(
        target=lambda: faces.append(len(app.recognition.detect(tiny_models.portrait(1), Options())))
    )
    request.start()
    assert running.wait(30)
    closing = threading.Thread(target=app.close)
    closing.start()
    release.set()
    request.join(30)
    closing.join(30)
    assert faces == [1]


def test_the_data_folder_and_the_database_are_the_owners_alone(
    make_settings: MakeSettings,
) -> None:
    before = os.umask(0)
    try:
        with build(make_settings()) as app:
            app.accounts.bootstrap()
            data = app.settings.data
            assert mode(data) == 0o700
            files = {path.name: mode(path) for path in data.iterdir()}
    finally:
        os.umask(before)
    assert files["knownface.db"] == 0o600
    assert set(files.values()) == {0o600}


def test_rights_of_a_folder_that_is_there_are_left_alone(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    open_store(make_settings()).close()
    assert mode(tmp_path / "data") == 0o755


def test_a_data_folder_that_cannot_be_made_is_told_in_one_line(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as refused:
        build(make_settings(data=tmp_path / "file" / "data"))
    assert "--data" in refused.value.message
    assert "\n" not in refused.value.message


def test_an_unknown_model_stops_the_build_and_names_the_known_ones(
    make_settings: MakeSettings,
) -> None:
    with pytest.raises(ConfigurationError, match="sface"):
        build(make_settings(embedder="faceface"))


def test_an_unknown_index_stops_the_build(make_settings: MakeSettings) -> None:
    with pytest.raises(ConfigurationError, match="exact"):
        build(make_settings(index="magic"))


def test_a_build_that_fails_leaves_no_threads(make_settings: MakeSettings) -> None:
    before = threading.active_count()
    with pytest.raises(ConfigurationError):
        build(make_settings(index="magic"))
    assert threading.active_count() == before


@pytest.mark.parametrize("state", ["absent", "damaged"])
def test_offline_a_missing_model_is_one_sentence_that_says_what_to_run(
    make_settings: MakeSettings, tmp_path: Path, state: str
) -> None:
    models = tmp_path / "none"
    models.mkdir()
    if state == "damaged":
        (models / "sface-2021dec.onnx").write_bytes(b"half")
    settings = make_settings(models_dir=models, detector="yunet", embedder="sface")
    app = build(settings)
    try:
        with pytest.raises(ModelUnavailable) as refused:
            app.start()
        assert f"sface is {state}" in refused.value.message
        assert "`knownface models install`" in refused.value.message
        assert "\n" not in refused.value.message
        assert not app.readiness().ready
    finally:
        app.close()


def test_a_model_damaged_after_the_build_is_not_used(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    app = build(make_settings())
    try:
        weights = tmp_path / "models" / tiny_models.EMBEDDER / f"{tiny_models.EMBEDDER}.onnx"
        weights.write_bytes(weights.read_bytes()[:-1])
        with pytest.raises(ModelUnavailable):
            app.start()
    finally:
        app.close()


def test_a_model_that_no_request_must_have_may_be_missing(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings = make_settings()
    (settings.models_dir / "mesh" / "mesh.onnx").unlink()
    with build(settings) as app:
        assert network(app, "mesh").state == "absent"
        assert app.readiness().ready
    assert [vars(r)["models"] for r in caplog.records if "optional" in r.message] == ["mesh"]


def test_what_nobody_asked_for_is_not_loaded(make_settings: MakeSettings) -> None:
    with build(make_settings()) as app:
        states = {name: one.state for name, one in app.pipeline.networks.items()}
        assert {n for n, state in states.items() if state == "ready"} == {
            tiny_models.DETECTOR,
            tiny_models.EMBEDDER,
        }
        asked = Options(plugins=("age",))
        (face,) = app.recognition.detect(tiny_models.portrait(1), asked)
        assert "age" in face.attributes
        assert network(app, "dlib-age").state == "ready"
        assert network(app, "dlib-gender").state == "unloaded"


def test_a_start_that_is_told_of_plugins_needs_their_models(make_settings: MakeSettings) -> None:
    settings = make_settings()
    (settings.models_dir / "mesh" / "mesh.onnx").unlink()
    app = build(settings)
    try:
        with pytest.raises(ModelUnavailable, match="mesh is absent"):
            app.start(plugins=("age", "pose", "nosuch"))
        app.start(plugins=("age", "nosuch"))
        assert network(app, "dlib-age").state == "ready"
    finally:
        app.close()


def test_offline_nothing_is_fetched_behind_anybodys_back(make_settings: MakeSettings) -> None:
    with build(make_settings()) as app:
        before = threading.active_count()
        app.fetch_optional()
        assert threading.active_count() == before


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    assert app_module.cores() == cores()


@pytest.mark.parametrize(
    ("setting", "value", "fitting"),
    [("detector", "sface", "yunet"), ("embedder", "foo", "sface"), ("index", "foo", "exact")],
)
def test_a_model_or_index_that_does_not_fit_is_named_with_its_setting(
    make_settings: MakeSettings, setting: str, value: str, fitting: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"KNOWNFACE_{setting.upper()}.*{fitting}"):
        build(make_settings(**{setting: value}))


def test_an_index_is_kept_from_one_app_to_the_next(make_settings: MakeSettings) -> None:
    settings = make_settings()
    with build(settings) as app:
        app.collections._keep_from = 1
        service, _ = app.accounts.create_service("a", "s", ServiceType.RECOGNITION)
        added = app.recognition.add_example(service, "Ada", tiny_models.portrait(1), Options())
        app.recognition.recognize(service, tiny_models.portrait(1), Options())
        with app.store.snapshot() as tx:
            vector = tx.vectors(service.id).matrix[0]
    folder = settings.data / "knownface.db-indexes"
    content = b"".join(path.read_bytes() for path in folder.glob("*/*.rows"))
    assert code_of(vector) in content
    assert vector.tobytes() not in content
    with build(settings) as app:
        app.keeper.start()
        found = app.recognition.recognize(service, tiny_models.portrait(1), Options())
        assert [match.subject for match in found[0].matches] == ["Ada"]
        app.known_faces.delete_examples(service, [added.image_id])
        assert not list(folder.glob("*/*.rows"))


def test_an_app_that_keeps_follows_what_others_deleted(make_settings: MakeSettings) -> None:
    settings = make_settings()
    with build(settings) as app:
        app.collections._keep_from = 1
        service, _ = app.accounts.create_service("a", "s", ServiceType.RECOGNITION)
        app.recognition.add_example(service, "Ada", tiny_models.portrait(1), Options())
        app.recognition.recognize(service, tiny_models.portrait(1), Options())
        app._keep()
        folder = settings.data / "knownface.db-indexes"
        assert list(folder.glob("*/*.rows"))
        other = Store.open(settings.database_url)
        with other.begin() as tx:
            tx.delete_subjects(service.id)
        other.close()
        app._keep()
        assert not list(folder.glob("*/*.rows"))


def test_an_app_closes_though_its_database_is_away(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = build(make_settings())

    def fail() -> None:
        raise Unavailable("busy")

    monkeypatch.setattr(app.collections, "keep", fail)
    app.close()
    assert "indexes are not kept" in caplog.text
