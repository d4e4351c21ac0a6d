"""Face collections and trials at the admin API, and the addresses of pictures."""

from __future__ import annotations

import io
import time
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from PIL import Image as Pillow

import tiny_models
from api.admin.callers import Browser, owner, signed_in
from api.calls import Caller, failed, serving
from knownface.api.admin.pictures import SECONDS, signed
from knownface.app import App
from knownface.settings import Settings
from knownface.signing import Signer
from knownface.types import Service, ServiceType

ANN, BOB, CLEO = (tiny_models.portrait(number) for number in (1, 2, 3))


@dataclass
class Collection:
    """A face collection as somebody keeps it who is signed in."""

    browser: Browser
    service: Service

    def __call__(self, method: str, path: str, **options: Any) -> Response:
        return self.browser(method, f"/services/{self.service.id}{path}", **options)

    def add(self, subject: str, picture: bytes) -> str:
        files = {"file": ("a.png", picture)}
        answer = self("POST", "/examples", params={"subject": subject}, files=files)
        assert answer.status_code == 201, answer.text
        image_id: str = answer.json()["image_id"]
        return image_id

    def subjects(self, **query: Any) -> dict[str, int]:
        found = self("GET", "/subjects", params=query).json()["subjects"]
        return {one["subject"]: one["examples"] for one in found}

    def examples(self, subject: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self(
            "GET", "/examples", params={"subject": subject or ""}
        ).json()["examples"]
        return found

    def picture(self, address: str, **options: Any) -> Response:
        return self.browser.client.get(address, **options)


def new_collection(
    app: App, browser: Browser, kind: ServiceType = ServiceType.RECOGNITION
) -> Collection:
    service, _ = app.accounts.create_service("tests", uuid.uuid4().hex, kind)
    return Collection(browser, service)


@pytest.fixture
def root(app: App, server: FastAPI, client: TestClient) -> Browser:
    """The owner of the server, which runs."""
    assert client.app is server
    return signed_in(app, server, owner(app))


@pytest.fixture
def collection(app: App, root: Browser) -> Collection:
    return new_collection(app, root)


def test_a_collection_is_kept_on_either_database(database_url: str, settings: Settings) -> None:
    with serving(settings, database_url=database_url) as (app, client):
        collection = new_collection(app, signed_in(app, client.app, owner(app)))  # type: ignore[arg-type]  # it is FastAPI's
        first, second = collection.add("Änne", ANN), collection.add("Änne", ANN)
        third = collection.add("Bob", BOB)
        assert collection.subjects() == {"Änne": 2, "Bob": 1}
        assert collection.subjects(search="anne") == {"Änne": 2}
        assert [one["image_id"] for one in collection.examples("Änne")] == [first, second]
        moved = collection(
            "POST", "/examples/move", json={"image_ids": [first, third], "subject": "Cleo"}
        )
        assert moved.json() == {"moved": 2}
        assert collection.subjects() == {"Änne": 1, "Cleo": 2}
        gone = collection(
            "POST", "/examples/delete", json={"image_ids": [second, str(uuid.uuid4())]}
        )
        assert gone.json() == {"deleted": 1}
        assert collection.subjects() == {"Cleo": 2}
        assert collection.picture(collection.examples()[0]["picture"]).content == ANN


def test_subjects_come_by_name_page_by_page(collection: Collection) -> None:
    for name in ("Cleo", "ann", "Bob"):
        assert collection("POST", "/subjects", json={"subject": name}).status_code == 201
    answer = collection("GET", "/subjects", params={"page": 1, "size": 2})
    assert answer.json() == {
        "subjects": [{"subject": "Cleo", "examples": 0, "picture": None}],
        "page": 1,
        "size": 2,
        "total": 3,
    }
    assert answer.headers["cache-control"] == "no-store"


def test_renaming_asks_before_it_merges(collection: Collection) -> None:
    collection.add("Ann", ANN)
    collection.add("Bob", BOB)

    def rename(old: str, **body: Any) -> Response:
        return collection("PUT", f"/subjects/{old}", json=body)

    assert rename("Ann", subject="Ann").json() == {"updated": False, "merged": False}
    assert rename("Ann", subject="Anna").json() == {"updated": True, "merged": False}
    refused = rename("Anna", subject="bob")
    assert failed(refused) == (409, 43)
    assert "Bob already, with 1 example" in refused.json()["message"]
    assert collection.subjects() == {"Anna": 1, "Bob": 1}
    assert rename("Anna", subject="bob", merge=True).json() == {"updated": True, "merged": True}
    assert collection.subjects() == {"Bob": 2}
    assert failed(rename("Nobody", subject="Somebody")) == (404, 42)


def test_a_subject_of_any_stored_name_can_be_named_in_the_query(
    app: App, collection: Collection
) -> None:
    with app.store.begin() as tx:
        for name in (".", "..", "a/b"):
            tx.create_subject(collection.service.id, name)
    renamed = collection("PUT", "/subjects", params={"subject": ".."}, json={"subject": "Ann"})
    assert renamed.json() == {"updated": True, "merged": False}
    assert collection("DELETE", "/subjects", params={"subject": "."}).json() == {"subject": "."}
    assert collection("DELETE", "/subjects", params={"subject": "a/b"}).status_code == 200
    assert failed(collection("DELETE", "/subjects")) == (400, 33)
    assert failed(collection("DELETE", "/subjects", params={"subject": ""})) == (400, 26)
    assert failed(collection("DELETE", "/subjects/")) == (404, 0)
    assert collection.subjects() == {"Ann": 0}


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/subjects", {}, (400, 5)),
        ("POST", "/subjects", {"subject": 7}, (400, 26)),
        ("POST", "/subjects", {"subject": " "}, (400, 26)),
        ("PUT", "/subjects/Ann", {"subject": "Bob", "merge": "yes"}, (400, 26)),
        ("PUT", "/subjects/Ann", {}, (400, 5)),
        ("POST", "/examples/move", {"image_ids": [], "subject": None}, (400, 5)),
        ("POST", "/examples/move", {"image_ids": ["x"], "subject": "Bob"}, (400, 26)),
        ("POST", "/examples/delete", {}, (400, 26)),
        ("POST", "/examples/delete", [], (400, 26)),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_and_changes_nothing(
    collection: Collection, method: str, path: str, body: Any, expected: tuple[int, int]
) -> None:
    collection.add("Ann", ANN)
    assert failed(collection(method, path, json=body)) == expected
    assert collection.subjects() == {"Ann": 1}


def test_a_name_may_hold_anything_that_a_path_does_not(collection: Collection) -> None:
    name = "Ann / Marie? #1 %2F"
    collection.add(name, ANN)
    path = "/subjects/Ann%20%2F%20Marie%3F%20%231%20%252F"
    assert collection("DELETE", path).json() == {"subject": name}
    assert collection.subjects() == {}


# Trying


def test_a_trial_answers_as_the_public_call(
    app: App, collection: Collection, recognition: Caller
) -> None:
    collection.add("Ann", ANN)
    recognition.key = app.accounts.rotate_key("tests", collection.service.name)
    query = {"face_plugins": "landmarks", "prediction_count": "2", "limit": "1"}
    sent = {"file": ("a.png", tiny_models.group([1, 2]))}
    tried = collection("POST", "/recognize", params=query, files=sent)
    public = recognition.post("/api/v1/recognition/recognize", params=query, files=sent)
    assert tried.json() == public.json()
    assert tried.json()["result"][0]["subjects"][0]["subject"] == "Ann"


def test_detection_and_verification_are_tried_without_a_key(app: App, root: Browser) -> None:
    detection = new_collection(app, root, ServiceType.DETECTION)
    found = detection("POST", "/detect", files={"file": ("a.png", tiny_models.group([1, 2, 3]))})
    assert len(found.json()["result"]) == 3
    verification = new_collection(app, root, ServiceType.VERIFICATION)
    pictures = {"source_image": ("a.png", ANN), "target_image": ("b.png", BOB)}
    compared = verification("POST", "/verify", params={"status": "true"}, files=pictures)
    assert len(compared.json()["result"][0]["face_matches"]) == 1


def test_a_service_is_tried_by_its_own_call_alone(app: App, root: Browser) -> None:
    detection = new_collection(app, root, ServiceType.DETECTION)
    sent = {"file": ("a.png", ANN)}
    assert failed(detection("POST", "/recognize", files=sent)) == (404, 10)
    assert failed(detection("GET", "/subjects")) == (404, 10)
    assert failed(detection("POST", "/detect", files={"file": ("a.png", b"no")})) == (400, 21)


# Pictures


def test_a_picture_comes_whole_or_small(collection: Collection) -> None:
    collection.add("Ann", ANN)
    address = collection.examples()[0]["picture"]
    assert address == collection("GET", "/subjects").json()["subjects"][0]["picture"]
    whole = collection.picture(address)
    assert (whole.content, whole.headers["content-type"]) == (ANN, "image/png")
    small = collection.picture(f"{address}?size=48")
    assert small.headers["content-type"] == "image/jpeg"
    assert max(Pillow.open(io.BytesIO(small.content)).size) == 48
    assert failed(collection.picture(f"{address}?size=large")) == (400, 26)


def test_an_address_needs_neither_cookie_nor_key_and_names_neither(
    collection: Collection, client: TestClient
) -> None:
    image_id = collection.add("Ann", ANN)
    address = collection.examples()[0]["picture"]
    client.cookies.clear()
    assert client.get(address).status_code == 200
    assert image_id not in address
    assert "Ann" not in address


def test_a_browser_asks_each_time_and_is_told_that_it_has_the_picture(
    collection: Collection,
) -> None:
    image_id = collection.add("Ann", ANN)
    address = collection.examples()[0]["picture"] + "?size=48"
    first = collection.picture(address)
    assert first.headers["cache-control"] == "private, no-cache"
    known = {"if-none-match": first.headers["etag"]}
    again = collection.picture(address, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert collection.picture(address.replace("48", "64"), headers=known).status_code == 200
    collection("POST", "/examples/delete", json={"image_ids": [image_id]})
    assert failed(collection.picture(address, headers=known)) == (404, 44)
    assert failed(collection.picture(address)) == (404, 44)


def test_an_address_is_over_after_a_quarter_of_an_hour_and_works_for_ten_minutes(
    app: App, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_id = uuid.UUID(collection.add("Ann", ANN))
    moments = [time.time()]
    secret = app.signer._secret
    monkeypatch.setattr(app, "signer", Signer(secret, lambda: moments[-1]))
    token = signed(app, collection.service.id, image_id)
    moments.append(moments[0] + SECONDS * 2 / 3 - 1)
    assert collection.picture(f"/admin/pictures/{token}").status_code == 200
    moments.append(moments[0] + SECONDS + 1)
    assert failed(collection.picture(f"/admin/pictures/{token}")) == (404, 44)


@pytest.mark.parametrize("change", ["cut", "other kind", "nonsense"])
def test_an_address_that_was_not_given_out_shows_nothing(
    app: App, collection: Collection, change: str
) -> None:
    image_id = uuid.UUID(collection.add("Ann", ANN))
    token = signed(app, collection.service.id, image_id)
    payload = [collection.service.id, image_id.hex]
    wrong = {
        "cut": token[:-1],
        "other kind": app.signer.sign("something else", payload, 60),
        "nonsense": "x",
    }[change]
    assert failed(collection.picture(f"/admin/pictures/{wrong}")) == (404, 44)
