"""Services, keys, numbers and the system's state at the admin API."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import tiny_models
from api.admin.callers import Browser, new_user, owner, signed_in
from api.calls import RECOGNITION, Caller, failed
from knownface.app import App
from knownface.keeping import kept_indexes
from knownface.people import Role
from knownface.recognition import Options
from knownface.types import ServiceType

DETECT = "/api/v1/detection/detect"


@pytest.fixture
def root(app: App, server: FastAPI, client: TestClient) -> Browser:
    """The owner of the server, which runs."""
    assert client.app is server
    return signed_in(app, server, owner(app))


@pytest.fixture
def application(root: Browser) -> int:
    number: int = root("POST", "/applications", json={"name": uuid.uuid4().hex}).json()["id"]
    return number


def new_service(root: Browser, application: int, **body: object) -> dict[str, Any]:
    """Make a service and return it with its key."""
    made = root(
        "POST",
        f"/applications/{application}/services",
        json={"name": uuid.uuid4().hex, "type": "RECOGNITION", **body},
    )
    assert made.status_code == 201, made.text
    document: dict[str, Any] = made.json()
    return {**document["service"], "key": document["key"]}


def test_a_service_is_made_told_changed_and_listed(root: Browser, application: int) -> None:
    made = new_service(root, application, name="door", similarity_threshold=0.8)
    key, path = made.pop("key"), f"/services/{made['id']}"
    assert uuid.UUID(key).version == 4
    assert root("GET", path).json() == made
    assert made["type"] == "RECOGNITION"
    assert (made["similarity_threshold"], made["max_fmr"]) == (0.8, None)
    assert (made["subjects"], made["examples"], made["copy"]) == (0, 0, None)
    changed = root("PUT", path, json={"name": "Gate", "save_images": False}).json()
    assert changed == {**made, "name": "Gate", "save_images": False}
    cleared = root("PUT", path, json={"similarity_threshold": None, "save_images": None}).json()
    assert cleared == {**made, "name": "Gate", "similarity_threshold": None}
    for lost in ({}, {"nmae": "Door"}):
        refused = root("PUT", path, json=lost)
        assert failed(refused) == (400, 26)
        assert "send name, similarity_threshold" in refused.json()["message"]
    assert root("GET", path).json() == cleared
    new_service(root, application, name="cam", type="DETECTION")
    listed = root("GET", f"/applications/{application}/services", params={"search": "GA"}).json()
    assert (listed["services"], listed["total"]) == ([cleared], 1)


def test_an_address_whose_end_got_lost_is_not_that_of_the_service(
    root: Browser, application: int
) -> None:
    made = new_service(root, application, name="door")
    for path in (f"/services/{made['id']}", f"/applications/{application}"):
        assert failed(root("PUT", f"{path}/", json={"name": "gate"})) == (404, 0)
        assert failed(root("DELETE", f"{path}/", json={"name": "door"})) == (404, 0)
    assert root("GET", f"/services/{made['id']}").json()["name"] == "door"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "DOOR"}, 17),
        ({"name": "a/b"}, 36),
        ({"name": " "}, 26),
        ({"similarity_threshold": 1.1}, 26),
        ({"similarity_threshold": 0.5, "max_fmr": 0.1}, 26),
        ({"max_fmr": 0.001}, 26),  # the small model has no table of rates
        ({"save_images": "perhaps"}, 26),
    ],
)
def test_what_cannot_be_changes_nothing(
    root: Browser, application: int, body: dict[str, object], code: int
) -> None:
    new_service(root, application, name="door")
    other = new_service(root, application, name="gate")
    other.pop("key")
    path = f"/services/{other['id']}"
    assert failed(root("PUT", path, json=body)) == (400, code)
    assert root("GET", path).json() == other
    made = root("POST", f"/applications/{application}/services", json={"name": "x", **body})
    assert made.status_code == 400


def test_what_recognises_nobody_has_no_threshold(root: Browser, application: int) -> None:
    body = {"name": "cam", "type": "DETECTION", "similarity_threshold": 0.5}
    assert failed(root("POST", f"/applications/{application}/services", json=body)) == (400, 26)
    made = new_service(root, application, type="VERIFICATION")
    path = f"/services/{made['id']}"
    assert failed(root("PUT", path, json={"similarity_threshold": 0.5})) == (400, 26)


def test_of_each_service_photographs_are_kept_as_it_says(
    app: App, client: TestClient, root: Browser, application: int
) -> None:
    kept = new_service(root, application)
    not_kept = new_service(root, application, save_images=False)
    for made, expected in ((kept, 1), (not_kept, 0)):
        image_id = Caller(client, made["key"]).enrol("Ada", 1)
        with app.store.snapshot() as tx:
            found = tx.photograph(made["id"], uuid.UUID(image_id))
        assert (found is not None) == bool(expected)


def test_a_service_goes_with_all_it_holds_once_its_name_is_given(
    app: App, client: TestClient, root: Browser, application: int
) -> None:
    made = new_service(root, application, name="door")
    caller = Caller(client, made["key"])
    caller.enrol("Ada", 1)
    root("GET", f"/services/{made['id']}/statistics")
    kept = kept_indexes(app.store, app.settings.data) / str(made["id"])
    kept.mkdir(parents=True)
    path = f"/services/{made['id']}"
    assert failed(root("DELETE", path, json={"name": "gate"})) == (400, 26)
    assert root("GET", path).json()["examples"] == 1
    assert root("DELETE", path, json={"name": "door"}).status_code == 204
    assert failed(root("GET", path)) == (404, 10)
    assert failed(caller.get(f"{RECOGNITION}/subjects")) == (404, 10)
    assert not kept.exists()
    with app.store.snapshot() as tx:
        assert tx.counts(made["id"]) == (0, 0)
        assert tx.usage(made["id"], datetime.min.date()) == []
        assert tx.keys(made["id"]) == []


def test_a_clone_knows_whom_the_original_knows(
    app: App, client: TestClient, root: Browser, application: int
) -> None:
    made = new_service(root, application, name="door", similarity_threshold=0.4, save_images=True)
    original = Caller(client, made["key"])
    for number in (1, 2, 3):
        original.enrol(f"Person {number}", number)
    answer = root("POST", f"/services/{made['id']}/clone", json={"name": "gate"})
    assert answer.status_code == 202
    copy, key = answer.json()["service"], answer.json()["key"]
    assert copy["copy"] == {"state": "running", "done": 0, "total": 3, "failure": None}
    assert (copy["similarity_threshold"], copy["save_images"]) == (0.4, True)
    app.copier.turn()
    done = root("GET", f"/services/{copy['id']}").json()
    assert (done["copy"]["state"], done["subjects"], done["examples"]) == ("done", 3, 3)
    seen = Caller(client, key).send(f"{RECOGNITION}/recognize", tiny_models.portrait(2))
    assert seen.json()["result"][0]["subjects"][0]["subject"] == "Person 2"
    again = root("POST", f"/services/{made['id']}/clone", json={"name": "GATE"})
    assert failed(again) == (400, 17)


def test_a_clone_of_what_holds_nothing_is_there_at_once(root: Browser, application: int) -> None:
    made = new_service(root, application, type="DETECTION")
    answer = root("POST", f"/services/{made['id']}/clone", json={"name": "other"}).json()
    assert (answer["service"]["type"], answer["service"]["copy"]) == ("DETECTION", None)


def test_several_keys_open_a_service_until_they_end(
    app: App, client: TestClient, root: Browser, application: int
) -> None:
    made = new_service(root, application, type="DETECTION")
    path, picture = f"/services/{made['id']}/keys", tiny_models.portrait(1)
    soon = datetime.now(UTC) + timedelta(hours=1)
    body = {"name": "Visitor", "expires_at": soon.isoformat()}
    short = root("POST", path, json=body).json()
    listed = root("GET", path).json()
    assert [one["name"] for one in listed["keys"]] == ["default", "Visitor"]
    assert all("key" not in one for one in listed["keys"])
    assert short["hint"] == short["key"][-4:]
    visitor = Caller(client, short["key"])
    assert visitor.send(DETECT, picture).status_code == 200
    assert Caller(client, made["key"]).send(DETECT, picture).status_code == 200
    with app.store.begin() as tx:  # as if the hour was over
        over = soon - timedelta(hours=2)
        tx.change_key(made["id"], short["id"], name="Visitor", expires_at=over)
    expired = visitor.send(DETECT, picture)
    assert failed(expired) == (404, 10)
    assert "expired" in expired.json()["message"]
    changed = root("PUT", f"{path}/{short['id']}", json={"expires_at": None}).json()
    assert (changed["name"], changed["expires_at"]) == ("Visitor", None)
    assert visitor.send(DETECT, picture).status_code == 200
    assert root("DELETE", f"{path}/{short['id']}").status_code == 204
    assert failed(visitor.send(DETECT, picture)) == (404, 10)


def test_a_rotated_key_takes_the_place_of_one(
    app: App, client: TestClient, root: Browser, application: int
) -> None:
    made = new_service(root, application, type="DETECTION")
    path, picture = f"/services/{made['id']}/keys", tiny_models.portrait(1)
    other = root("POST", path, json={"name": "other"}).json()
    rotated = root("POST", f"{path}/{other['id']}/rotate").json()
    assert (rotated["id"], rotated["name"]) == (other["id"], "other")
    assert failed(Caller(client, other["key"]).send(DETECT, picture)) == (404, 10)
    assert Caller(client, rotated["key"]).send(DETECT, picture).status_code == 200
    assert Caller(client, made["key"]).send(DETECT, picture).status_code == 200
    app.usage.flush()
    used = {one["name"]: one["last_used_at"] for one in root("GET", path).json()["keys"]}
    assert all(used.values())


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "DEFAULT"}, 17),
        ({"name": ""}, 26),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, 26),
        ({"name": "x", "expires_at": "2090-01-01T00:00:00"}, 26),
        ({}, 33),
    ],
)
def test_keys_that_cannot_be_are_refused(
    root: Browser, application: int, body: dict[str, str], code: int
) -> None:
    made = new_service(root, application)
    path = f"/services/{made['id']}/keys"
    assert failed(root("POST", path, json=body)) == (400, code)
    assert failed(root("DELETE", f"{path}/{2**53}")) == (404, 0)
    assert failed(root("POST", f"{path}/{2**53}/rotate")) == (404, 0)


def test_what_is_asked_of_a_service_is_counted(
    client: TestClient, root: Browser, application: int
) -> None:
    made = new_service(root, application)
    caller, path = Caller(client, made["key"]), f"/services/{made['id']}/statistics"
    caller.enrol("Ada", 1)
    caller.send(f"{RECOGNITION}/recognize", tiny_models.portrait(1))
    caller.send(f"{RECOGNITION}/recognize", b"no picture")
    caller.get(f"{RECOGNITION}/subjects")  # a look at names is no work with faces
    told = root("GET", path, params={"days": 3, "months": 2}).json()
    assert [day["requests"] for day in told["days"]] == [0, 0, 3]
    assert [month["requests"] for month in told["months"]] == [0, 3]
    today = told["days"][-1]
    assert (today["errors"], today["client_errors"]) == (1, 1)
    assert 0 < today["mean_ms"] <= today["p95_ms"] * 2
    assert told["days"][0]["mean_ms"] is None
    assert (told["total"]["requests"], told["total"]["errors"]) == (3, 1)
    assert failed(root("GET", path, params={"days": 0})) == (400, 26)
    assert failed(root("GET", path, params={"days": 1000})) == (400, 26)


def test_the_system_is_told_to_who_runs_the_server(
    app: App, server: FastAPI, client: TestClient, root: Browser, application: int
) -> None:
    made = new_service(root, application, name="door")
    caller = Caller(client, made["key"])
    caller.enrol("Ada", 1)
    caller.send(f"{RECOGNITION}/recognize", tiny_models.portrait(1))
    now = root("GET", "/system").json()
    assert now["ready"] is True
    assert now["database"]["kind"] == "sqlite"
    assert now["database"]["bytes"] > 0
    assert now["disk"]["free_bytes"] > 0
    assert now["machine"]["cores"] >= 1
    (index,) = (one for one in now["indexes"] if one["service_id"] == made["id"])
    assert (index["service"], index["faces"]) == ("door", 1)
    assert index["bytes"] > 0
    models = {one["name"]: one for one in now["models"]}
    assert models[tiny_models.EMBEDDER]["task"] == "embedder"
    assert (models[tiny_models.DETECTOR]["state"], models[tiny_models.DETECTOR]["required"]) == (
        "ready",
        True,
    )
    assert failed(signed_in(app, server, new_user(app))("GET", "/system")) == (403, 1)


def test_a_service_of_others_is_not_to_be_seen(
    app: App, server: FastAPI, root: Browser, application: int
) -> None:
    made = new_service(root, application)
    stranger = signed_in(app, server, new_user(app))
    member = new_user(app)
    root(
        "POST",
        f"/applications/{application}/members",
        json={"email": member.email, "role": Role.USER.name},
    )
    within = signed_in(app, server, member)
    path = f"/services/{made['id']}"
    assert within("GET", path).status_code == 200
    assert within("GET", f"{path}/keys").status_code == 200
    for method, end, body in (
        ("PUT", "", {"name": "x"}),
        ("DELETE", "", {"name": made["name"]}),
        ("POST", "/clone", {"name": "x"}),
        ("POST", "/keys", {"name": "x"}),
    ):
        assert failed(stranger(method, path + end, json=body)) == (404, 10)
        assert failed(within(method, path + end, json=body)) == (403, 1)
    assert failed(stranger("GET", f"{path}/statistics")) == (404, 10)


def test_numbers_outlive_the_server(models: Path, tmp_path: Path) -> None:
    from api.calls import serving
    from api.conftest import _settings

    settings = _settings(tmp_path / "data", models)
    with serving(settings) as (first, client):
        service, key = first.accounts.create_service("a", "door", ServiceType.RECOGNITION)
        first.recognition.add_example(service, "Ada", tiny_models.portrait(1), Options())
        Caller(client, key).send(f"{RECOGNITION}/recognize", tiny_models.portrait(1))
    with serving(settings) as (second, _):
        assert second.usage.statistics(service.id, 1, 1).total.requests == 1
