"""Services with an embedder of their own, over HTTP: what each answers, and says it used."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

import tiny_models
from api.calls import RECOGNITION, Caller, failed, new_caller, serving
from knownface.app import App
from knownface.settings import Settings
from knownface.types import ServiceType

RECOGNIZE = f"{RECOGNITION}/recognize"
OWN = "tiny-own"
LENGTH = 96
ANN, BOB = tiny_models.portrait(1), tiny_models.portrait(2)


@dataclass(frozen=True)
class Served:
    """A program with a caller of a service that has an embedder of its own, and of a usual one."""

    app: App
    own: Caller
    usual: Caller
    kept: str
    aside: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    models = tmp_path / "models"
    tiny_models.write_models(models)
    tiny_models.write_embedder(
        models, OWN, seed=7, dimension=LENGTH, fmr=((0.5, 1e-2), (0.9, 1e-4))
    )
    settings = Settings(
        data=tmp_path / "data",
        models_dir=models,
        detector=tiny_models.DETECTOR,
        embedder=tiny_models.EMBEDDER,
        offline=True,
    )
    with serving(settings) as (app, client):
        own, usual = (new_caller(app, client, ServiceType.RECOGNITION) for _ in range(2))
        kept, aside = own.enrol("Ann", 1), own.enrol("Bob", 2)
        usual.enrol("Ann", 1)
        with closing(sqlite3.connect(settings.data / "knownface.db")) as database, database:
            database.execute(
                "UPDATE photograph SET content = ? WHERE example_key = 2", (tiny_models.blank(),)
            )
        app.accounts.change_embedder(app.accounts.services()[0], OWN)
        app.reembedder.turn()
        yield Served(app, own, usual, kept, aside)


def test_each_service_answers_by_its_own_embedder_and_says_so(served: Served) -> None:
    asked = {"status": "true", "face_plugins": "calculator"}
    found = {
        caller.key: caller.send(RECOGNIZE, ANN, params=asked).json()
        for caller in (served.own, served.usual)
    }
    own, usual = found[served.own.key], found[served.usual.key]
    assert own["plugins_versions"]["calculator"] == OWN
    assert usual["plugins_versions"]["calculator"] == tiny_models.EMBEDDER
    assert len(own["result"][0]["embedding"]) == LENGTH
    assert len(usual["result"][0]["embedding"]) == tiny_models.DIMENSION
    (subject,) = own["result"][0]["subjects"]
    assert (subject["subject"], subject["false_match_rate"]) == ("Ann", 1e-4)
    assert "false_match_rate" not in usual["result"][0]["subjects"][0]


def test_embeddings_are_those_of_the_services_embedder(served: Served) -> None:
    asked = {"face_plugins": "calculator"}
    face = served.own.send(RECOGNIZE, ANN, params=asked).json()["result"][0]
    body = {"embeddings": [face["embedding"]]}
    path = f"{RECOGNITION}/embeddings"
    answer = served.own.post(f"{path}/recognize", json=body, params={"status": "true"}).json()
    (match,) = answer["result"][0]["similarities"]
    assert (match["subject"], match["false_match_rate"]) == ("Ann", 1e-4)
    answer = served.own.post(f"{path}/faces/{served.kept}/verify", json=body).json()
    assert answer["result"][0]["similarity"] > 0.99
    refused = served.usual.post(f"{path}/recognize", json=body)
    assert failed(refused) == (400, 26)
    assert str(tiny_models.DIMENSION) in refused.json()["message"]


def test_an_example_that_was_kept_aside_is_there_and_is_not_compared(served: Served) -> None:
    subjects = served.own.send(RECOGNIZE, BOB, params={"prediction_count": 9}).json()
    assert [one["subject"] for one in subjects["result"][0]["subjects"]] == ["Ann"]
    refused = served.own.send(f"{RECOGNITION}/faces/{served.aside}/verify", BOB)
    assert failed(refused) == (409, 41)
    assert "kept aside" in refused.json()["message"]
    listed = served.own.get(f"{RECOGNITION}/faces").json()["faces"]
    assert [one["image_id"] for one in listed] == [served.kept, served.aside]
    picture = served.own.get(f"{RECOGNITION}/faces/{served.aside}/img")
    assert picture.content == tiny_models.blank()
    assert served.own.delete(f"{RECOGNITION}/faces/{served.aside}").status_code == 200
    answer = served.own.send(f"{RECOGNITION}/faces/{served.kept}/verify", ANN).json()
    assert answer["result"][0]["similarity"] > 0.99


def test_a_model_that_is_missing_costs_only_the_services_that_have_it(served: Served) -> None:
    network = served.app.pipeline.open_embedder(OWN)
    network.unload()
    assert network.path
    network.path.unlink()
    refused = served.own.send(RECOGNIZE, ANN)
    assert failed(refused) == (503, 41)
    assert OWN in refused.json()["message"]
    assert served.usual.send(RECOGNIZE, ANN).status_code == 200
    ready = served.usual.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["checks"]["models"] == f"{OWN} is absent"


def test_all_stored_embeddings_are_consistent_with_their_services(served: Served) -> None:
    assert served.own.get("/api/v1/consistence/status").json()["dbIsInconsistent"] is False
