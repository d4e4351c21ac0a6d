"""Signing up, in and out: cookies, what protects them, and what keeps guessers out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.admin.callers import PASSWORD, browser
from api.calls import failed
from knownface.api.server import create_server
from knownface.app import App, build
from knownface.settings import Settings

SIGN_UP = {
    "email": "Jane@Example.org",
    "first_name": "Jane",
    "last_name": "Doe",
    "password": PASSWORD,
}


@pytest.fixture
def empty(settings: Settings) -> Iterator[App]:
    """A program that nobody owns yet."""
    with build(settings) as app:
        yield app


def test_the_first_to_sign_up_owns_the_server(empty: App) -> None:
    own = browser(create_server(empty))
    before = own("GET", "/session").json()
    assert (before["signed_in"], before["owner_exists"], before["user"]) == (False, False, None)
    made = own("POST", "/users", json=SIGN_UP)
    assert made.status_code == 201, made.text
    assert made.json()["user"]["role"] == "OWNER"
    assert made.json()["user"]["email"] == "jane@example.org"
    after = own("GET", "/session").json()
    assert (after["signed_in"], after["owner_exists"]) == (True, True)
    assert after["csrf_token"] == made.json()["csrf_token"]
    other = browser(own.client.app)  # type: ignore[arg-type]  # it was given a FastAPI
    refused = other("POST", "/users", json={**SIGN_UP, "email": "john@example.org"})
    assert failed(refused) == (403, 1)
