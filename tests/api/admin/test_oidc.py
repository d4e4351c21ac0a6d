"""Signing in with the word of an OpenID Connect provider, against a real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from api.admin.callers import Browser, browser, new_user, owner, signed_in
from knownface.api.server import create_server
from knownface.app import App, build
from knownface.people import Role
from knownface.settings import Settings
from knownface.store.people import Newcomer
from oidc_provider import Provider, running_provider

JANE = {
    "sub": "jane-1",
    "email": "jane@example.org",
    "email_verified": True,
    "given_name": "Jane",
    "family_name": "Doe",
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as provider:
        provider.claims = dict(JANE)
        yield provider


def settings_of(settings: Settings, provider: Provider, **changes: str) -> Settings:
    given = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": "knownface",
        "oidc_client_secret": "secret",
        "oidc_name": "Example",
        "public_url": "http://localhost",
        **changes,
    }
    return settings.model_copy(update=given)


@pytest.fixture
def app(settings: Settings, provider: Provider) -> Iterator[App]:
    """A program whose owner has a password; its models are not loaded."""
    app = build(settings_of(settings, provider))
    owner(app)
    yield app
    app.close()


@pytest.fixture
def server(app: App) -> FastAPI:
    return create_server(app)


def arrive(at: Browser, provider: Provider, query: str = "", **changes: str) -> str:
    """Go to the provider and back, and return where the browser is sent in the end."""
    left = at.client.get(f"/admin/oidc/login{query}", follow_redirects=False)
    assert left.status_code == 302, left.text
    return come_back(at, provider, left.headers["location"], **changes)


def come_back(at: Browser, provider: Provider, location: str, **changes: str) -> str:
    assert location.startswith(f"{provider.issuer}/authorize?")
    target, parameters = provider.authorize(location)
    back = at.client.get(target, params={**parameters, **changes}, follow_redirects=False)
    assert back.status_code == 303, back.text
    where: str = back.headers["location"]
    return where


def me(at: Browser) -> Any:
    return at("GET", "/session").json()["user"]


def test_the_page_knows_the_providers_name(server: FastAPI) -> None:
    assert browser(server)("GET", "/session").json()["oidc"] == {"name": "Example"}


def test_the_first_one_owns_the_server_and_comes_back_as_himself(
    settings: Settings, provider: Provider
) -> None:
    app = build(settings_of(settings, provider))
    server = create_server(app)
    at = browser(server)
    assert arrive(at, provider, "?next=/users") == "/users"
    assert me(at) | {"id": 0, "created_at": ""} == {
        "id": 0,
        "email": "jane@example.org",
        "first_name": "Jane",
        "last_name": "Doe",
        "role": "OWNER",
        "created_at": "",
    }
    provider.claims["email"] = "jane@other.example"  # the subject is who one is
    again = browser(server)
    assert arrive(again, provider) == "/"
    assert me(again)["id"] == me(at)["id"]
    app.close()


@pytest.mark.parametrize(
    ("subject", "target"), [("jane-1", "/"), ("eve", "/login?failed=provider")]
)
def test_an_address_that_no_token_holds_is_asked_for(
    app: App, server: FastAPI, provider: Provider, subject: str, target: str
) -> None:
    provider.told = {**JANE, "sub": subject}
    provider.claims = {"sub": JANE["sub"]}
    _, link = app.invitations.invite(None, "", "jane@example.org", Role.ADMINISTRATOR)
    at = browser(server)
    assert arrive(at, provider, f"?invitation={link.rpartition('/')[2]}") == target


def test_without_an_invitation_nobody_new_is_let_in(server: FastAPI, provider: Provider) -> None:
    at = browser(server)
    assert arrive(at, provider) == "/login?failed=closed"
    assert me(at) is None


def test_an_invitation_lets_somebody_new_in(app: App, server: FastAPI, provider: Provider) -> None:
    _, link = app.invitations.invite(None, "", "jane@example.org", Role.ADMINISTRATOR)
    at = browser(server)
    assert arrive(at, provider, f"?invitation={link.rpartition('/')[2]}") == "/"
    assert me(at)["role"] == "ADMINISTRATOR"


def test_nobody_takes_over_an_account_that_has_a_password(
    app: App, server: FastAPI, provider: Provider
) -> None:
    new_user(app, email="jane@example.org")
    at = browser(server)
    assert arrive(at, provider) == "/login?failed=account"
    assert me(at) is None


@pytest.mark.parametrize(("verified", "target"), [(True, "/"), (False, "/login?failed=closed")])
def test_an_account_without_a_password_is_its_addresses_if_that_is_verified(
    app: App, server: FastAPI, provider: Provider, verified: bool, target: str
) -> None:
    with app.store.begin() as tx:
        tx.add_user(Newcomer("jane@example.org", "J", "D", Role.USER))
    provider.claims["email_verified"] = verified
    assert arrive(browser(server), provider) == target


def test_whoever_is_signed_in_connects_and_disconnects_his_account(
    app: App, server: FastAPI, provider: Provider
) -> None:
    at = signed_in(app, server, new_user(app))
    assert at("GET", "/me").json()["connected"] is False
    begun = at("POST", "/me/oidc")
    assert begun.status_code == 201
    assert come_back(at, provider, begun.json()["location"]) == "/profile"
    assert at("GET", "/me").json()["connected"] is True
    elsewhere = browser(server)
    assert arrive(elsewhere, provider) == "/"
    assert at.user
    assert me(elsewhere)["id"] == at.user.id
    other = signed_in(app, server, new_user(app))
    taken = other("POST", "/me/oidc").json()["location"]
    assert come_back(other, provider, taken) == "/login?failed=account"
    assert at("DELETE", "/me/oidc").status_code == 204
    assert arrive(browser(server), provider) == "/login?failed=closed"


@pytest.mark.parametrize(
    "lies",
    [
        {"nonce": "of another"},
        {"aud": "another client"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"sub": ""},
        {"email": ""},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_this_sign_in_is_refused(
    settings: Settings, provider: Provider, lies: dict[str, Any]
) -> None:
    app = build(settings_of(settings, provider))
    provider.lies = lies
    at = browser(create_server(app))
    assert arrive(at, provider) == "/login?failed=provider"
    assert not app.identity.owner_exists()
    app.close()


def test_a_token_signed_by_somebody_else_is_refused(
    server: FastAPI, provider: Provider, app: App
) -> None:
    app.invitations.invite(None, "", "jane@example.org", Role.USER)
    provider.signed_with = "forged"
    assert arrive(browser(server), provider) == "/login?failed=provider"


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(
    server: FastAPI, provider: Provider
) -> None:
    at = browser(server)
    assert arrive(at, provider, state="of another") == "/login?failed=provider"
    left = at.client.get("/admin/oidc/login", follow_redirects=False)
    stranger = browser(server)
    assert come_back(stranger, provider, left.headers["location"]) == "/login?failed=provider"
    assert arrive(at, provider, error="access_denied") == "/login?failed=provider"


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_nobody_is_sent_to_another_site(
    app: App, server: FastAPI, provider: Provider, target: str
) -> None:
    at = signed_in(app, server, new_user(app))
    come_back(at, provider, at("POST", "/me/oidc").json()["location"])
    assert arrive(browser(server), provider, f"?next={target}") == "/"


def test_a_provider_that_is_not_there_is_told_as_such(
    settings: Settings, provider: Provider
) -> None:
    app = build(settings_of(settings, provider, oidc_issuer="http://127.0.0.1:9"))
    left = browser(create_server(app)).client.get("/admin/oidc/login", follow_redirects=False)
    assert (left.status_code, left.headers["location"]) == (303, "/login?failed=provider")
    app.close()
