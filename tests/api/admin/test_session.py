"""Signing up, in and out: cookies, what protects them, and what keeps guessers out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.admin.callers import API, PASSWORD, Browser, browser, new_user, owner, signed_in
from api.calls import failed
from knownface.api.server import create_server
from knownface.app import App, build
from knownface.errors import TooManyAttempts
from knownface.identity.passwords import digest
from knownface.identity.throttle import ACCOUNT, Throttle
from knownface.settings import Settings
from knownface.store.people_tables import session as sessions

SIGN_UP = {
    "email": "Jane@Example.org",
    "first_name": "Jane",
    "last_name": "Doe",
    "password": PASSWORD,
}


@pytest.fixture
def empty(settings: Settings) -> Iterator[App]:
    """A program that nobody owns yet; its models are not loaded."""
    app = build(settings)
    yield app
    app.close()


@pytest.fixture
def jane(app: App, server: FastAPI, client: TestClient) -> Browser:
    del client  # it runs the server
    owner(app)
    return signed_in(app, server, new_user(app))


def sign_in(at: Browser, email: str, password: str = PASSWORD, **headers: str) -> tuple[int, int]:
    """Return the status and code of an attempt, the code 0 for a success."""
    answer = at("POST", "/session", json={"email": email, "password": password}, headers=headers)
    return (200, 0) if answer.status_code == 200 else failed(answer)


def test_the_first_to_sign_up_owns_the_server(empty: App) -> None:
    server = create_server(empty)
    own = browser(server)
    before = own("GET", "/session").json()
    assert (before["signed_in"], before["owner_exists"], before["user"]) == (False, False, None)
    made = own("POST", "/users", json=SIGN_UP)
    assert made.status_code == 201, made.text
    assert made.json()["user"]["role"] == "OWNER"
    assert made.json()["user"]["email"] == "jane@example.org"
    after = own("GET", "/session").json()
    assert (after["signed_in"], after["owner_exists"]) == (True, True)
    assert after["csrf_token"] == made.json()["csrf_token"]
    other = browser(server)("POST", "/users", json={**SIGN_UP, "email": "john@example.org"})
    assert failed(other) == (403, 1)


def test_registration_can_be_open_to_everybody(settings: Settings) -> None:
    app = build(settings.model_copy(update={"registration": "open"}))
    own = browser(create_server(app))
    own("POST", "/users", json=SIGN_UP)
    second = browser(create_server(app))("POST", "/users", json={**SIGN_UP, "email": "j@x.org"})
    assert second.json()["user"]["role"] == "USER"
    again = browser(create_server(app))("POST", "/users", json={**SIGN_UP, "email": "J@x.org"})
    assert failed(again) == (400, 4)
    app.close()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("email", "no address", (400, 22)),
        ("email", None, (400, 26)),
        ("password", "short", (400, 26)),
        ("password", " " * 9, (400, 26)),
        ("password", "x" * 256, (400, 26)),
        ("password", "jane@example.ORG", (400, 26)),
        ("first_name", " ", (400, 26)),
        ("last_name", "x" * 51, (400, 26)),
    ],
)
def test_an_account_needs_usable_values(
    empty: App, field: str, value: object, expected: tuple[int, int]
) -> None:
    answer = browser(create_server(empty))("POST", "/users", json={**SIGN_UP, field: value})
    assert failed(answer) == expected
    assert not empty.identity.owner_exists()


def test_a_missing_field_is_named(empty: App) -> None:
    answer = browser(create_server(empty))("POST", "/session", json={"email": "a@b.org"})
    assert failed(answer) == (400, 33)
    assert "password" in answer.json()["message"]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(jane: Browser) -> None:
    assert jane.user
    answer = jane("POST", "/session", json={"email": jane.user.email, "password": PASSWORD})
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=lax" in said
    assert "path=/;" in said + ";"
    assert "secure" not in said
    assert answer.headers["cache-control"] == "no-store"


def test_over_https_the_cookie_never_goes_without(settings: Settings) -> None:
    proxied = {"x-forwarded-proto": "https"}
    for changes, headers, secure in (
        ({"public_url": "https://faces.example"}, {}, True),
        ({}, proxied, False),
        ({"trusted_proxies": "10.0.0.0/8"}, proxied, True),
    ):
        app = build(settings.model_copy(update=changes))
        client = TestClient(create_server(app), client=("10.0.0.1", 1), base_url="http://localhost")
        body = {"email": owner(app).email, "password": PASSWORD}
        answer = client.post(f"{API}/session", json=body, headers=headers)
        assert ("secure" in answer.headers["set-cookie"].lower()) == secure, changes
        app.close()


def test_a_changed_cookie_is_nobodys(jane: Browser) -> None:
    assert jane("GET", "/me").status_code == 200
    value = jane.client.cookies["knownface_session"]
    jane.client.cookies.clear()
    jane.client.cookies.set(
        "knownface_session", value[:-2] + ("aa" if value[-2:] != "aa" else "bb")
    )
    assert failed(jane("GET", "/me")) == (401, 0)


def test_signing_out_ends_the_session_on_the_server(jane: Browser) -> None:
    value = jane.client.cookies["knownface_session"]
    assert jane("DELETE", "/session").status_code == 204
    jane.client.cookies.set("knownface_session", value)
    assert failed(jane("GET", "/me")) == (401, 0)


def test_a_session_lasts_14_days_since_its_last_use(app: App, jane: Browser) -> None:
    def age(last_seen: timedelta, left: timedelta) -> None:
        with app.store.begin() as tx:
            moment = datetime.now(UTC)
            tx.connection.execute(
                update(sessions)
                .where(sessions.c.user_id == (jane.user.id if jane.user else 0))
                .values(last_seen_at=moment - last_seen, expires_at=moment + left)
            )

    age(timedelta(days=13), timedelta(days=1))
    (seen,) = jane("GET", "/me/sessions").json()["sessions"]
    assert seen["current"] is True
    assert datetime.now(UTC) - datetime.fromisoformat(seen["last_seen_at"]) < timedelta(minutes=1)
    with app.store.snapshot() as tx:
        assert jane.user
        assert tx.sessions(jane.user.id)[0].expires_at > datetime.now(UTC) + timedelta(days=13)
    age(timedelta(days=14), timedelta(seconds=-1))
    assert failed(jane("GET", "/me")) == (401, 0)


def test_one_can_sign_out_elsewhere_but_only_oneself(
    app: App, server: FastAPI, jane: Browser
) -> None:
    assert jane.user
    elsewhere = signed_in(app, server, jane.user)
    there, here = jane("GET", "/me/sessions").json()["sessions"]
    assert (there["current"], here["current"]) == (False, True)
    stranger = signed_in(app, server, new_user(app))
    assert failed(stranger("DELETE", f"/me/sessions/{there['id']}")) == (404, 0)
    assert jane("DELETE", f"/me/sessions/{there['id']}").status_code == 204
    assert failed(elsewhere("GET", "/me")) == (401, 0)
    assert jane("GET", "/me").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
    ],
    ids=str,
)
def test_no_other_site_signs_anybody_in(jane: Browser, headers: dict[str, str]) -> None:
    assert jane.user
    assert sign_in(jane, jane.user.email, **headers) == (403, 1)
    assert sign_in(jane, jane.user.email, origin="http://localhost") == (200, 0)
    # As it arrives from a proxy that asks by another name.
    proxied = {"origin": "https://faces.example", "sec-fetch-site": "same-origin"}
    assert sign_in(jane, jane.user.email, **proxied) == (200, 0)


def test_administration_is_not_open_to_other_pages(jane: Browser) -> None:
    answer = jane("GET", "/session", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


# Guessers


def test_a_guesser_is_not_listened_to_and_neither_is_he_after_a_restart(
    settings: Settings,
) -> None:
    app = build(settings)
    email = owner(app).email
    at = browser(create_server(app))
    refusals = [sign_in(at, email, f"wrong {n}") for n in range(7)]
    assert refusals[:5] == [(401, 18)] * 5
    assert (429, 0) in refusals
    # A long wait, as after many more of them, which no restart may forget.
    with app.store.begin() as tx:
        tx.block(digest("account", email), datetime.now(UTC) + timedelta(minutes=9))
    app.close()
    app = build(settings)
    at = browser(create_server(app))
    answer = at("POST", "/session", json={"email": email, "password": PASSWORD})
    assert failed(answer) == (429, 0)
    assert 500 < int(answer.headers["retry-after"]) <= 541
    app.close()


def test_waits_double_and_end_at_a_quarter_of_an_hour() -> None:
    assert [ACCOUNT.seconds(n) for n in (1, 4, 5, 6, 9, 14, 15, 1000)] == [
        *(0, 0, 1, 2, 16, 512, 900, 900)
    ]


def test_an_unknown_address_is_refused_and_slowed_down_as_a_known_one(
    app: App, jane: Browser, server: FastAPI
) -> None:
    at = browser(server)
    assert jane.user
    known = [sign_in(at, jane.user.email, "wrong password") for _ in range(5)]
    unknown = [sign_in(at, "nobody@example.org", "wrong password") for _ in range(5)]
    assert known == unknown == [(401, 18)] * 5
    assert sign_in(at, "nobody@example.org") == (429, 0)
    del app


def test_one_address_that_tries_many_accounts_is_slowed_down(empty: App) -> None:
    throttle = Throttle(empty.store)
    for n in range(50):
        throttle.attempt(f"user{n}@example.org", "2001:db8::1")
    with pytest.raises(TooManyAttempts):
        throttle.attempt("another@example.org", "2001:db8::ffff")  # of the same subscriber
    throttle.attempt("another@example.org", "2001:db8:1::1")


def test_a_success_forgets_the_failures_of_its_account(jane: Browser, server: FastAPI) -> None:
    at = browser(server)
    assert jane.user
    for _ in range(3):
        assert [sign_in(at, jane.user.email, "wrong password") for _ in range(4)] == [(401, 18)] * 4
        assert sign_in(at, jane.user.email) == (200, 0)


def test_the_address_that_a_trusted_proxy_tells_of_counts(settings: Settings) -> None:
    app = build(settings.model_copy(update={"trusted_proxies": "10.0.0.1"}))
    server = create_server(app)
    body = {"email": owner(app).email, "password": PASSWORD}
    for proxy in ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"):
        client = TestClient(server, client=(proxy, 1), base_url="http://localhost")
        forwarded = {"x-forwarded-for": "6.6.6.6, 192.0.2.77"}
        client.post(f"{API}/session", json=body, headers=forwarded).raise_for_status()
        seen = client.get(f"{API}/me/sessions", headers=forwarded).json()["sessions"]
        expected = proxy if proxy == "10.0.0.2" else "192.0.2.77"
        assert [one["address"] for one in seen if one["current"]] == [expected]
    app.close()


# Oneself


def test_a_new_password_ends_every_other_session(app: App, server: FastAPI, jane: Browser) -> None:
    assert jane.user
    elsewhere = signed_in(app, server, jane.user)
    body = {"old_password": "wrong password", "new_password": "another password"}
    assert failed(jane("PUT", "/me/password", json=body)) == (400, 18)
    body["old_password"] = PASSWORD
    assert jane("PUT", "/me/password", json=body).status_code == 204
    assert jane("GET", "/me").status_code == 200
    assert failed(elsewhere("GET", "/me")) == (401, 0)
    at = browser(server)
    assert sign_in(at, jane.user.email) == (401, 18)
    assert sign_in(at, jane.user.email, "another password") == (200, 0)


def test_an_access_token_acts_until_it_is_taken_back(jane: Browser, server: FastAPI) -> None:
    made = jane("POST", "/me/tokens", json={"name": "backup"})
    assert made.status_code == 201
    token = made.json()["token"]
    assert token.startswith("kft_")
    program = TestClient(server, headers={"authorization": f"Bearer {token}"})
    renamed = program.put(f"{API}/me", json={"first_name": "Joan", "last_name": "Doe"})
    assert renamed.json()["first_name"] == "Joan"
    (listed,) = jane("GET", "/me/tokens").json()["tokens"]
    assert listed["last_used_at"]
    assert "token" not in listed
    assert jane("DELETE", f"/me/tokens/{listed['id']}").status_code == 204
    assert failed(program.get(f"{API}/me")) == (401, 0)


def test_an_access_token_ends_at_its_time(app: App, jane: Browser, server: FastAPI) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    assert failed(jane("POST", "/me/tokens", json={"name": "x", "expires_at": past})) == (400, 26)
    assert failed(jane("POST", "/me/tokens", json={"name": "x", "expires_at": "soon"})) == (400, 26)
    assert jane.user
    with app.store.begin() as tx:
        gone = datetime.now(UTC) - timedelta(seconds=1)
        tx.add_token(jane.user.id, digest("access token", "kft_old"), "old", gone)
    program = TestClient(server, headers={"authorization": "Bearer kft_old"})
    assert failed(program.get(f"{API}/me")) == (401, 0)


def test_no_password_token_or_link_reaches_a_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = build(settings)
    own = browser(create_server(app))
    made = own("POST", "/users", json=SIGN_UP).json()
    own.csrf = made["csrf_token"]
    token = own("POST", "/me/tokens", json={"name": "backup"}).json()["token"]
    link = own("POST", "/invitations", json={}).json()["link"]
    own("GET", f"/join/{link.rpartition('/')[2]}")
    own("POST", "/session", json={"email": "jane@example.org", "password": "hunter2 hunter2"})
    own("PUT", f"/password-resets/{token}", json={"password": "hunter2 hunter2"})
    own_records = [r for r in caplog.records if r.name != "httpx2"]  # that is the browser's
    logged = "\n".join(str(vars(record)) for record in own_records)
    assert "/admin/api/session" in logged
    cookie = own.client.cookies["knownface_session"]
    for secret in (PASSWORD, "hunter2", token, link.rpartition("/")[2], cookie, own.csrf or "?"):
        assert secret not in logged
    app.close()
