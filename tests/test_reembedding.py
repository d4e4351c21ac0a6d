"""A service changes its embedder while its program runs: on small real networks and SQLite."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import tiny_models
from databases import with_tables
from faces import OvertakenStore
from knownface.app import App, build
from knownface.errors import (
    ConfigurationError,
    InvalidRequest,
    ModelMismatch,
    ModelUnavailable,
    Unavailable,
)
from knownface.recognition import Options, Recognition
from knownface.reembedding import NO_PHOTOGRAPH, Reembedder
from knownface.settings import Settings
from knownface.store import Store
from knownface.types import (
    Embedding,
    Reembedding,
    ReembeddingState,
    Service,
    ServiceType,
    Threshold,
)
from knownface.vision.catalog import ModelSpec

EMBEDDER, OTHER = tiny_models.EMBEDDER, tiny_models.OTHER_EMBEDDER
SHORT = "tiny-short"
ANY = Options()
PEOPLE = 6

MakeApp = Callable[..., App]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.write_models(folder)
    tiny_models.write_embedder(folder, OTHER, seed=7, fmr=[(0.5, 0.01), (0.9, 0.0001)])
    tiny_models.write_embedder(folder, SHORT, dimension=96)
    return folder


@pytest.fixture
def make_app(
    tmp_path: Path, models: Path, sqlite_tables: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeApp]:
    """Return a maker of programs on one data folder; they are closed with the test."""
    monkeypatch.setattr("knownface.background._POLL_SECONDS", 0.01)
    data = with_tables(tmp_path / "data", sqlite_tables)
    made: list[App] = []

    def make(**changes: object) -> App:
        given: dict[str, object] = {
            "data": data,
            "models_dir": models,
            "detector": tiny_models.DETECTOR,
            "embedder": EMBEDDER,
            "slots": 1,
            "offline": True,
        }
        made.append(build(Settings(**given | changes)))  # type: ignore[arg-type]  # pydantic checks them
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app: MakeApp) -> App:
    app = make_app()
    app.start()
    return app


@pytest.fixture
def service(app: App) -> Service:
    """A recognition service that knows some people."""
    made, _ = app.accounts.create_service("default", "door", ServiceType.RECOGNITION)
    for number in range(PEOPLE):
        app.recognition.add_example(made, name(number), tiny_models.portrait(number), ANY)
    return made


class Overtaken(Recognition):
    """Recognition as the worker calls it, where things happen before it embeds a picture."""

    calls = 0
    before: Callable[[int], object]

    def embedding_of(self, data: bytes, model: ModelSpec, options: Options) -> Embedding:
        self.calls += 1
        self.before(self.calls)
        return super().embedding_of(data, model, options)


def overtaken(app: App, before: Callable[[int], object]) -> tuple[Reembedder, Overtaken]:
    """Return a worker of the program that is told of each picture, by its number from 1 on."""
    recognition = Overtaken(app.pipeline, app.collections, app.store, app.decoder)
    recognition.before = before
    return Reembedder(app.store, recognition, app.collections), recognition


def name(number: int) -> str:
    return f"Person {number}"


def seen(app: App, service: Service, number: int) -> list[tuple[str, float]]:
    """Return who is recognized in a portrait, with the similarity."""

    def work(service: Service) -> list[tuple[str, float]]:
        (face,) = app.recognition.recognize(service, tiny_models.portrait(number), ANY)
        return [(match.subject, match.similarity) for match in face.matches]

    return app.recognition.steadily(service, work)


def knows(app: App, service: Service, *numbers: int) -> bool:
    """Tell whether these people are recognized, each beyond doubt."""
    found = [seen(app, service, number) for number in numbers]
    return all(
        [subject for subject, similarity in matches if similarity > 0.99] == [name(number)]
        for number, matches in zip(numbers, found, strict=True)
    )


def current(app: App, service: Service) -> Service:
    return app.accounts.service(service.application, service.name)


def change(app: App, service: Service) -> Reembedding:
    found, _ = app.accounts.reembedding(service)
    assert found is not None
    return found


def stored_models(app: App) -> list[str]:
    """Return the model of every stored vector."""
    path = app.settings.data / "knownface.db"
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT model FROM embedding ORDER BY example_key, model")
        return [model for (model,) in rows]


def test_a_changed_service_recognizes_by_the_new_model_alone(app: App, service: Service) -> None:
    assert knows(app, service, *range(PEOPLE))
    assert app.accounts.change_embedder(service, OTHER)
    assert knows(app, service, *range(PEOPLE))
    app.reembedder.turn()
    assert (change(app, service).state, change(app, service).done) == (
        ReembeddingState.DONE,
        PEOPLE,
    )
    assert current(app, service).embedder == OTHER
    assert knows(app, current(app, service), *range(PEOPLE))
    assert knows(app, service, *range(PEOPLE)), "who read the service before finds them, too"
    assert stored_models(app) == [OTHER] * PEOPLE
    assert not change(app, service).unclean
    assert app.recognition.consistent()


def test_embeddings_may_have_another_length(app: App, service: Service) -> None:
    app.accounts.change_embedder(service, SHORT)
    app.reembedder.turn()
    changed = current(app, service)
    assert knows(app, changed, *range(PEOPLE))
    with pytest.raises(InvalidRequest, match="96"):
        app.recognition.recognize_embeddings(changed, [[1.0] * 128], ANY)
    app.recognition.add_example(changed, name(20), tiny_models.portrait(20), ANY)
    assert knows(app, changed, 20)


def test_what_is_added_and_deleted_meanwhile_is_as_it_has_to_be(app: App, service: Service) -> None:
    added = app.known_faces.examples(service, name(0), 0, 1).examples[0]

    def interfere(number: int) -> None:
        if number == 2:
            app.recognition.add_example(service, name(9), tiny_models.portrait(9), ANY)
            app.known_faces.delete_example(service, added.image_id)
            app.known_faces.delete_subject(service, name(5))
            app.known_faces.rename_subject(service, name(4), name(44))

    app.accounts.change_embedder(service, OTHER)
    worker, recognition = overtaken(app, interfere)
    worker.turn()
    assert recognition.calls >= 2
    assert change(app, service).state is ReembeddingState.DONE
    assert knows(app, service, 1, 2, 3, 9)
    assert [subject for subject, similarity in seen(app, service, 4) if similarity > 0.9] == [
        name(44)
    ]
    for gone in (0, 5):
        assert all(similarity < 0.5 for _, similarity in seen(app, service, gone))
    assert stored_models(app) == [OTHER] * (PEOPLE - 1)


def test_an_enrolment_that_the_change_overtakes_is_done_with_the_new_model(
    app: App, service: Service
) -> None:
    stale = service
    app.accounts.change_embedder(service, OTHER)
    app.reembedder.turn()
    with pytest.raises(ModelMismatch, match=f"{OTHER}.*{EMBEDDER}"):
        app.recognition.add_example(stale, name(30), tiny_models.portrait(30), ANY)
    app.recognition.steadily(
        stale,
        lambda one: app.recognition.add_example(one, name(30), tiny_models.portrait(30), ANY),
    )
    assert knows(app, service, 30)


def test_a_mismatch_that_no_change_explains_is_raised(app: App, service: Service) -> None:
    def fail(_: Service) -> None:
        raise ModelMismatch

    with pytest.raises(ModelMismatch):
        app.recognition.steadily(service, fail)
    app.accounts.delete_service(service.application, service.name)
    with pytest.raises(ModelMismatch):
        app.recognition.steadily(service, fail)


def test_examples_without_photograph_or_face_are_kept_aside_and_come_back(
    app: App, service: Service, make_app: MakeApp
) -> None:
    blind = make_app(save_images_to_db=False)
    blind.start()
    hidden = blind.recognition.add_example(service, name(6), tiny_models.portrait(6), ANY)
    pair = app.known_faces.examples(service, name(1), 0, 1).examples[0]
    empty = app.known_faces.examples(service, name(2), 0, 1).examples[0]
    with closing(sqlite3.connect(app.settings.data / "knownface.db")) as database, database:
        for example, content in (
            (pair, tiny_models.group([1, 2])),
            (empty, tiny_models.blank()),
        ):
            database.execute(
                "UPDATE photograph SET content = ? WHERE example_key = ?", (content, example.key)
            )
    assert app.accounts.without_photograph(service) == 1
    app.accounts.change_embedder(service, OTHER)
    app.reembedder.turn()
    changed = current(app, service)
    aside = app.accounts.embedder_change(changed).left_out
    assert [(one.example, one.reason) for one in aside] == [
        (pair, "More than one face in the source image"),
        (empty, "No face is found in the given image"),
        (hidden, NO_PHOTOGRAPH),
    ]
    assert knows(app, changed, 0, 3, 4, 5)
    assert all(similarity < 0.5 for _, similarity in seen(app, changed, 6))
    assert app.known_faces.examples(changed, None, 0, 99).total == PEOPLE + 1
    with pytest.raises(ModelMismatch, match="kept aside"):
        app.recognition.verify_example(changed, hidden.image_id, tiny_models.portrait(6), ANY)
    app.known_faces.delete_example(changed, pair.image_id)
    assert stored_models(app).count(EMBEDDER) == 2

    app.accounts.change_embedder(changed, EMBEDDER)
    app.reembedder.turn()
    assert knows(app, current(app, service), 0, 2, 3, 4, 5, 6)
    assert app.accounts.embedder_change(service).left_out == []
    assert stored_models(app) == [EMBEDDER] * PEOPLE


def test_a_change_goes_on_where_it_was_interrupted(
    app: App, service: Service, make_app: MakeApp
) -> None:
    def interrupt(number: int) -> None:
        if number == 6:  # in the second batch: the first is stored
            raise Unavailable

    app.accounts.change_embedder(service, OTHER)
    worker, _ = overtaken(app, interrupt)
    with pytest.raises(Unavailable):
        worker.turn()
    assert stored_models(app).count(OTHER) == 4
    assert knows(app, service, *range(PEOPLE))
    second = make_app()
    second.start()
    worker, recognition = overtaken(second, lambda _: None)
    worker.turn()
    assert recognition.calls == PEOPLE - 4
    assert change(app, service).state is ReembeddingState.DONE
    assert knows(app, service, *range(PEOPLE))


def test_a_cancelled_change_leaves_the_service_as_it_was(app: App, service: Service) -> None:
    app.accounts.change_embedder(service, OTHER)
    worker, _ = overtaken(app, lambda _: app.accounts.cancel_embedder_change(service))
    worker.turn()
    assert change(app, service).state is ReembeddingState.CANCELLED
    app.reembedder.turn()
    assert stored_models(app) == [EMBEDDER] * PEOPLE
    assert not change(app, service).unclean
    assert app.accounts.embedder_change(service).left_out == []
    assert knows(app, current(app, service), *range(PEOPLE))
    assert not app.accounts.cancel_embedder_change(service)


@pytest.mark.parametrize("event", ["addition", "cancellation", "takeover"])
def test_what_happens_in_the_last_moment_is_noticed(app: App, service: Service, event: str) -> None:
    """After the last example was embedded, and before the service is switched."""
    store = OvertakenStore.open(app.settings.database_url)
    assert isinstance(store, OvertakenStore)
    store.prepare()
    recognition = Overtaken(app.pipeline, app.collections, app.store, app.decoder)

    def act() -> None:
        match event:
            case "addition":
                app.recognition.add_example(service, name(7), tiny_models.portrait(7), ANY)
            case "cancellation":
                app.accounts.cancel_embedder_change(service)
            case "takeover":
                with app.store.begin() as tx:
                    assert tx.claim(service.id, "another", seconds=-1)

    def arm(number: int) -> None:
        if number == PEOPLE:
            store.after = act

    recognition.before = arm
    app.accounts.change_embedder(service, OTHER)
    with closing(store):
        Reembedder(store, recognition, app.collections).turn()
    now = change(app, service)
    match event:
        case "addition":
            assert (now.state, now.done) == (ReembeddingState.DONE, PEOPLE + 1)
            assert knows(app, service, *range(PEOPLE), 7)
        case "cancellation":
            assert (now.state, now.unclean) == (ReembeddingState.CANCELLED, False)
            assert stored_models(app) == [EMBEDDER] * PEOPLE
        case "takeover":
            assert (now.state, now.working) == (ReembeddingState.RUNNING, True)


def test_a_change_that_would_lose_everybody_fails(app: App, make_app: MakeApp) -> None:
    blind = make_app(save_images_to_db=False)
    blind.start()
    service, _ = blind.accounts.create_service("default", "blind", ServiceType.RECOGNITION)
    blind.recognition.add_example(service, name(1), tiny_models.portrait(1), ANY)
    app.accounts.change_embedder(service, OTHER)
    app.reembedder.turn()
    failed = change(app, service)
    assert failed.state is ReembeddingState.FAILED
    assert "Not one example" in str(failed.failure)
    assert knows(app, current(app, service), 1)
    assert [one.reason for one in app.accounts.embedder_change(service).left_out] == [NO_PHOTOGRAPH]


def test_a_model_that_is_not_there_fails_the_change_and_it_can_be_tried_again(
    app: App, service: Service
) -> None:
    app.accounts.change_embedder(service, "nosuch")
    app.reembedder.turn()
    failed = change(app, service)
    assert (failed.state, failed.working) == (ReembeddingState.FAILED, False)
    assert "nosuch" in str(failed.failure)
    assert knows(app, current(app, service), 1)
    app.accounts.change_embedder(service, OTHER)
    app.reembedder.turn()
    assert change(app, service).state is ReembeddingState.DONE


def test_a_detector_that_gets_lost_fails_the_change_and_no_example(
    app: App, service: Service
) -> None:
    detector = app.pipeline.networks[tiny_models.DETECTOR]
    path = detector.path

    def lose(number: int) -> None:
        if number == 2:
            detector.path = None
            detector.unload()

    app.accounts.change_embedder(service, OTHER)
    worker, _ = overtaken(app, lose)
    worker.turn()
    assert change(app, service).state is ReembeddingState.FAILED
    assert app.accounts.embedder_change(service).left_out == []
    detector.path = path
    app.accounts.change_embedder(service, OTHER)
    worker.turn()
    assert change(app, service).state is ReembeddingState.DONE
    assert knows(app, service, *range(PEOPLE))


def test_a_picture_that_breaks_a_model_costs_only_itself(
    app: App, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    errors = {1: ModelUnavailable("no direction"), 2: ValueError("a number")}

    def fail(number: int) -> None:
        if number in errors:
            raise errors[number]

    app.accounts.change_embedder(service, OTHER)
    worker, _ = overtaken(app, fail)
    worker.turn()
    aside = app.accounts.embedder_change(service).left_out
    assert [one.reason for one in aside] == [
        "no direction",
        "The models failed on it (ValueError)",
    ]
    assert "could not be embedded" in caplog.text


def test_a_service_that_is_deleted_ends_its_change(app: App, service: Service) -> None:
    def delete(number: int) -> None:
        if number == 1:
            app.accounts.delete_service(service.application, service.name)

    app.accounts.change_embedder(service, OTHER)
    worker, _ = overtaken(app, delete)
    worker.turn()
    assert stored_models(app) == []


def test_another_process_at_work_is_left_alone(app: App, service: Service) -> None:
    app.accounts.change_embedder(service, OTHER)
    with app.store.begin() as tx:
        assert tx.claim(service.id, "another")
    app.reembedder.turn()
    assert (change(app, service).done, change(app, service).working) == (0, True)
    with app.store.begin() as tx:
        tx.release(service.id, "another")
    app.reembedder.turn()
    assert change(app, service).state is ReembeddingState.DONE


def test_only_a_change_that_is_needed_is_begun(app: App, service: Service) -> None:
    assert not app.accounts.change_embedder(service, EMBEDDER)
    assert current(app, service).embedder == EMBEDDER
    assert app.accounts.change_embedder(service, OTHER)
    assert app.accounts.change_embedder(service, OTHER)
    with pytest.raises(InvalidRequest, match=OTHER):
        app.accounts.change_embedder(service, SHORT)
    watching, _ = app.accounts.create_service("default", "cam", ServiceType.DETECTION)
    with pytest.raises(InvalidRequest, match="detection"):
        app.accounts.change_embedder(watching, OTHER)


def test_a_service_without_faces_changes_at_once(app: App) -> None:
    service, _ = app.accounts.create_service("default", "new", ServiceType.RECOGNITION)
    assert app.accounts.change_embedder(service, OTHER)
    app.reembedder.turn()
    changed = current(app, service)
    assert changed.embedder == OTHER
    app.recognition.add_example(changed, name(1), tiny_models.portrait(1), ANY)
    assert stored_models(app) == [OTHER]


def test_a_threshold_as_a_rate_goes_by_the_table_of_the_services_own_model(
    app: App, service: Service
) -> None:
    asked = replace(ANY, threshold=Threshold(max_fmr=0.001))
    with pytest.raises(InvalidRequest, match=EMBEDDER):
        app.recognition.recognize(service, tiny_models.portrait(1), asked)
    app.accounts.change_embedder(service, OTHER)
    app.reembedder.turn()
    (face,) = app.recognition.recognize(current(app, service), tiny_models.portrait(1), asked)
    assert [match.subject for match in face.matches] == [name(1)]
    assert app.recognition.versions([], calculator=True, embedder=OTHER)["calculator"] == OTHER
    assert app.recognition.versions([], calculator=True)["calculator"] == EMBEDDER


def test_a_model_that_no_service_has_any_more_is_unloaded(app: App, service: Service) -> None:
    for embedder in (OTHER, SHORT):
        app.accounts.change_embedder(service, embedder)
        app.reembedder.turn()
        assert knows(app, service, 1)
    app.reembedder.turn()
    states = {n: app.pipeline.networks[n].state for n in (EMBEDDER, OTHER, SHORT)}
    assert states == {EMBEDDER: "ready", OTHER: "unloaded", SHORT: "ready"}


def test_an_index_of_the_old_model_does_not_stay_in_memory(app: App, service: Service) -> None:
    assert knows(app, service, 1)
    app.reembedder.turn()
    assert app.collections.sizes() == {service.id: PEOPLE}
    app.accounts.change_embedder(service, OTHER)
    app.reembedder.turn()
    app.reembedder.turn()
    assert app.collections.sizes() == {}


def test_the_thread_works_and_stops_in_order(app: App, service: Service) -> None:
    app.reembedder.start()
    app.reembedder.start()
    app.accounts.change_embedder(service, OTHER)
    while change(app, service).unclean or change(app, service).state.value == "running":
        threading.Event().wait(0.01)
    app.close()
    assert not any(thread.name == "reembed" for thread in threading.enumerate())


def test_the_thread_survives_a_database_that_is_away(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="knownface.reembedding")
    app.store.close()
    app.reembedder.start()
    while "changes of embedders wait" not in caplog.text:
        threading.Event().wait(0.01)


def test_the_thread_survives_what_nobody_foresaw(
    app: App, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise SystemExit

    app.accounts.change_embedder(service, OTHER)
    worker, _ = overtaken(app, fail)
    worker.start()
    try:
        while change(app, service).state is ReembeddingState.RUNNING:
            threading.Event().wait(0.01)
    finally:
        worker.stop()
    assert "is tried again" in caplog.text


def test_a_worker_that_is_stopped_leaves_the_rest_to_the_next(app: App, service: Service) -> None:
    app.accounts.change_embedder(service, OTHER)
    reached = threading.Event()

    def wait(number: int) -> None:
        if number == 2:
            reached.set()
            worker.stopping.wait(30)

    worker, recognition = overtaken(app, wait)
    worker.start()
    assert reached.wait(30)
    worker.stop()
    assert recognition.calls == 2
    left = change(app, service)
    assert (left.state, left.done, left.working) == (ReembeddingState.RUNNING, 2, False)
    app.reembedder.turn()
    assert change(app, service).state is ReembeddingState.DONE


def test_requests_that_wait_for_a_model_go_first(app: App, service: Service) -> None:
    app.accounts.change_embedder(service, OTHER)
    held, release = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        held.set()
        release.wait(30)

    picture = tiny_models.portrait(1)
    asking = [
        threading.Thread(target=lambda: app.recognition.detect(picture, ANY)) for _ in range(3)
    ]
    app.scheduler.on_run = hold
    for one in asking:
        one.start()
    assert held.wait(30)
    while not any(app.scheduler.depth().values()):
        threading.Event().wait(0.01)
    began = time.monotonic()
    worker, recognition = overtaken(app, lambda _: release.set())
    worker.turn()
    assert time.monotonic() - began > 0.9, "it did not wait"
    assert recognition.calls == PEOPLE, "and not for ever"
    for one in asking:
        one.join()


def test_a_start_with_another_embedder_than_the_stored_one_is_refused(
    app: App, service: Service, make_app: MakeApp
) -> None:
    app.refuse_another_embedder()
    other = make_app(embedder=OTHER)
    with pytest.raises(ConfigurationError) as refused:
        other.refuse_another_embedder()
    message = refused.value.message
    assert "\n" not in message
    assert f"knownface reembed door --application default --model {OTHER}" in message
    assert f"--data {other.settings.data} --models-dir {other.settings.models_dir}" in message
    assert f"KNOWNFACE_EMBEDDER={EMBEDDER}" in message
    app.accounts.change_embedder(service, OTHER)
    app.reembedder.turn()
    for one in (other, again := make_app()):
        one.refuse_another_embedder()
        one.start()
    assert knows(other, current(other, service), 1)
    assert knows(again, current(again, service), 1)


def test_a_program_of_another_embedder_can_do_the_work_itself(
    app: App, service: Service, make_app: MakeApp
) -> None:
    app.accounts.change_embedder(service, OTHER)
    app.close()
    worker = make_app(embedder=OTHER)
    worker.start_reembedding(service, OTHER, lambda *_: None)
    while change(worker, service).unclean or change(worker, service).state.value == "running":
        threading.Event().wait(0.01)
    assert change(worker, service).state is ReembeddingState.DONE
    worker.start()
    assert knows(worker, service, 1)


def test_readiness_tells_of_a_service_whose_model_is_away(
    app: App, service: Service, models: Path
) -> None:
    app.accounts.change_embedder(service, OTHER)
    app.reembedder.turn()
    assert app.readiness().ready
    with app.store.begin() as tx:
        tx.connection.exec_driver_sql("UPDATE service SET embedder = 'lost', model = 'lost'")
    assert app.readiness().checks["models"] == "lost is absent"
    with pytest.raises(ModelUnavailable, match="lost"):
        app.recognition.recognize(current(app, service), tiny_models.portrait(1), ANY)
    assert models.exists()


def test_two_stores_agree_on_who_works(app: App, service: Service) -> None:
    with closing(Store.open(app.settings.database_url)) as other:
        app.accounts.change_embedder(service, OTHER)
        with other.begin() as tx:
            assert tx.claim(service.id, "there")
        with app.store.begin() as tx:
            assert not tx.claim(service.id, "here")
            assert tx.claim(service.id, "here", seconds=-1)
        with other.begin() as tx:
            assert not tx.record(service.id, "there", {}, {})
            assert not tx.survey(service.id, "there")
            assert not tx.switch(service.id, "there", after_key=0)
            assert tx.clean(service.id, "there", after_key=0, limit=9) is None
            assert not tx.fail(service.id, "there", "late")
    assert change(app, service).state is ReembeddingState.RUNNING
