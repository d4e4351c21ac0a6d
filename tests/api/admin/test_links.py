"""Links that let people in: new passwords and invitations, mailed by a real server or handed on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.admin.callers import (
    PASSWORD,
    Browser,
    browser,
    new_application,
    new_user,
    owner,
    signed_in,
)
from api.calls import failed
from knownface.api.server import create_server
from knownface.app import App, build
from knownface.mail import Mailer
from knownface.people import Role, User
from knownface.settings import Settings
from mail_server import Mailbox

NEW = "another password"


@pytest.fixture
def mailing(settings: Settings, mailbox: Mailbox) -> Iterator[App]:
    """A program that sends mail."""
    changes = {
        "smtp_url": f"smtp://127.0.0.1:{mailbox.port}",
        "mail_from": "Knownface <faces@example.org>",
        "public_url": "https://faces.example",
    }
    app = build(settings.model_copy(update=changes))
    yield app
    app.close()


@pytest.fixture
def boss(app: App, server: FastAPI, client: TestClient) -> Browser:
    del client  # it runs the server
    return signed_in(app, server, owner(app))


def signing_in(at: Browser, user: User, password: str) -> int:
    status: int = at(
        "POST", "/session", json={"email": user.email, "password": password}
    ).status_code
    return status


def sign_up(at: Browser, email: str, token: str) -> tuple[int, int | str]:
    names = {"first_name": "Jo", "last_name": "Doe"}
    body = {**names, "email": email, "password": PASSWORD, "invitation": token}
    answer = at("POST", "/users", json=body)
    return (201, answer.json()["user"]["role"]) if answer.status_code == 201 else failed(answer)


def test_a_mailed_link_sets_a_new_password_once(mailing: App, mailbox: Mailbox) -> None:
    user, server = owner(mailing), create_server(mailing)
    inside, at = signed_in(mailing, server, user), browser(server)
    assert at("GET", "/session").json()["mail"] is True
    assert at("POST", "/password-resets", json={"email": user.email.upper()}).status_code == 202
    ((recipient, text),) = mailbox.wait()
    assert recipient == user.email
    found = re.search(r"https://faces\.example/reset/(\S+)", text)
    assert found, text
    path = f"/password-resets/{found[1]}"
    assert failed(at("PUT", path, json={"password": "short"})) == (400, 26)
    assert at("PUT", path, json={"password": NEW}).status_code == 204
    assert failed(at("PUT", path, json={"password": NEW})) == (400, 30)
    assert failed(inside("GET", "/me")) == (401, 0)
    assert signing_in(at, user, PASSWORD) == 401
    assert signing_in(at, user, NEW) == 200


def test_nobody_learns_whether_there_is_an_account(mailing: App, mailbox: Mailbox) -> None:
    user, at = owner(mailing), browser(create_server(mailing))
    for email in ("nobody@example.org", user.email):
        answer = at("POST", "/password-resets", json={"email": email})
        assert (answer.status_code, answer.content) == (202, b"")
    assert [recipient for recipient, _ in mailbox.wait()] == [user.email]


def test_nobody_is_flooded_with_mails(mailing: App, mailbox: Mailbox) -> None:
    user, at = owner(mailing), browser(create_server(mailing))
    asked = [at("POST", "/password-resets", json={"email": user.email}) for _ in range(5)]
    assert [one.status_code for one in asked[:3]] == [202] * 3
    assert asked[-1].status_code == 429
    mailing.close()
    assert len(mailbox.mails) <= 4


def test_a_link_of_an_administrator_does_what_a_mailed_one_does(
    app: App, server: FastAPI, boss: Browser
) -> None:
    user = new_user(app)
    links = [boss("POST", f"/users/{user.id}/password-reset").json()["link"] for _ in range(2)]
    assert links[0].startswith("http://localhost/reset/")
    at, tokens = browser(server), [link.rpartition("/")[2] for link in links]
    older = at("PUT", f"/password-resets/{tokens[0]}", json={"password": NEW})
    assert failed(older) == (400, 30)
    assert at("PUT", f"/password-resets/{tokens[1]}", json={"password": NEW}).status_code == 204
    assert signing_in(at, user, NEW) == 200


def test_an_administrator_cannot_take_over_the_owner(app: App, server: FastAPI) -> None:
    administrator = signed_in(app, server, new_user(app, Role.ADMINISTRATOR))
    path = f"/users/{owner(app).id}"
    assert failed(administrator("POST", f"{path}/password-reset")) == (403, 1)
    assert failed(administrator("PUT", f"{path}/role", json={"role": "USER"})) == (403, 1)
    assert failed(administrator("DELETE", path)) == (403, 1)
    mine = f"/users/{administrator.user.id if administrator.user else 0}/role"
    assert failed(administrator("PUT", mine, json={"role": "OWNER"})) == (403, 1)


def test_nobody_takes_an_account_over_with_a_link_for_himself(app: App, server: FastAPI) -> None:
    for role in (Role.ADMINISTRATOR, Role.OWNER):
        user = owner(app) if role is Role.OWNER else new_user(app, role)
        own = signed_in(app, server, user)
        refused = own("POST", f"/users/{user.id}/password-reset")
        assert failed(refused) == (400, 9)
        assert "/me/password" in refused.json()["message"]


def test_an_access_token_makes_no_way_into_accounts_that_outlives_it(
    app: App, server: FastAPI
) -> None:
    user = new_user(app)
    token = app.tokens.issue(owner(app), "a program", None)[1]
    bearer, at = {"authorization": f"Bearer {token}"}, browser(server)
    for number in (user.id, owner(app).id):
        assert failed(at("POST", f"/users/{number}/password-reset", headers=bearer)) == (403, 1)
    asked = {"role": "ADMINISTRATOR"}
    assert failed(at("POST", "/invitations", json=asked, headers=bearer)) == (403, 1)
    assert at("POST", "/invitations", json={}, headers=bearer).status_code == 201


@pytest.mark.parametrize("email", ["", "  "])
def test_an_address_that_is_blank_makes_no_invitation_for_everybody(
    app: App, boss: Browser, email: str
) -> None:
    here, body = new_application(app), {"email": email}
    before = boss("GET", "/invitations").json()
    assert failed(boss("POST", "/invitations", json=body)) == (400, 22)
    assert failed(boss("POST", f"/applications/{here}/members", json=body)) == (400, 22)
    assert boss("GET", "/invitations").json() == before


def test_a_mailed_invitation_opens_the_server_once_and_to_its_address_alone(
    mailing: App, mailbox: Mailbox
) -> None:
    server = create_server(mailing)
    boss = signed_in(mailing, server, owner(mailing))
    body = {"email": "Jo@example.org", "role": "ADMINISTRATOR"}
    made = boss("POST", "/invitations", json=body).json()
    assert made["mailed"] is True
    ((recipient, text),) = mailbox.wait()
    assert recipient == "jo@example.org"
    assert made["link"] in text
    token = made["link"].rpartition("/")[2]
    at = browser(server)
    told = at("GET", f"/join/{token}").json()
    assert told == {"email": "jo@example.org", "role": "ADMINISTRATOR", "application": None}
    assert sign_up(at, "other@example.org", token) == (400, 9)
    assert sign_up(at, "jo@example.org", token) == (201, "ADMINISTRATOR")
    assert failed(browser(server)("GET", f"/join/{token}")) == (400, 30)


def test_an_invitation_leads_into_its_application(app: App, server: FastAPI) -> None:
    host = new_user(app, name="host")
    application = new_application(app, host=(host, Role.OWNER))
    inviting = signed_in(app, server, host)
    body = {"application_id": application, "role": "ADMINISTRATOR"}
    made = inviting("POST", "/invitations", json=body).json()
    assert [one["id"] for one in inviting("GET", "/invitations").json()["invitations"]] == [
        made["id"]
    ]
    at = browser(server)
    email = f"guest{made['id']}@example.org"
    assert sign_up(at, email, made["link"].rpartition("/")[2]) == (201, "USER")
    with app.store.snapshot() as tx:
        guest = tx.user_by_email(email)
        assert guest
        assert tx.membership(application, guest.id) is Role.ADMINISTRATOR
    seen = {one["email"] for one in inviting("GET", "/users").json()["users"]}
    assert seen == {host.email, email}


def test_an_invitation_is_worth_no_more_than_the_rights_of_who_made_it(
    app: App, server: FastAPI, boss: Browser
) -> None:
    administrator = new_user(app, Role.ADMINISTRATOR)
    link = signed_in(app, server, administrator)("POST", "/invitations", json={}).json()["link"]
    boss("PUT", f"/users/{administrator.id}/role", json={"role": "USER"}).raise_for_status()
    assert sign_up(browser(server), "late@example.org", link.rpartition("/")[2]) == (400, 30)


def test_an_invitation_can_be_withdrawn(server: FastAPI, boss: Browser) -> None:
    made = boss("POST", "/invitations", json={}).json()
    assert boss("DELETE", f"/invitations/{made['id']}").status_code == 204
    assert failed(boss("DELETE", f"/invitations/{made['id']}")) == (404, 0)
    token = made["link"].rpartition("/")[2]
    assert sign_up(browser(server), "late@example.org", token) == (400, 30)


def test_where_registration_is_closed_nobody_is_invited(settings: Settings) -> None:
    app = build(settings.model_copy(update={"registration": "closed"}))
    boss = signed_in(app, create_server(app), owner(app))
    assert failed(boss("POST", "/invitations", json={})) == (400, 9)
    app.close()


def test_a_mail_that_is_refused_keeps_no_other_from_being_sent(mailbox: Mailbox) -> None:
    mailbox.refusals = 1
    mailer = Mailer(f"smtp://127.0.0.1:{mailbox.port}", "faces@example.org")
    mailer.post("jane@example.org", "One", "first")
    mailer.post("jane@example.org", "Two", "second")
    mailer.close()
    assert [text.strip() for _, text in mailbox.mails] == ["second"]


def test_a_password_is_never_sent_in_the_clear(
    mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    mailer = Mailer(f"smtp://me:p%40ss@127.0.0.1:{mailbox.port}", "faces@example.org")
    mailer.post("jane@example.org", "One", "first")
    mailer.close()
    assert mailbox.mails == []
    assert "could not be sent" in caplog.text
    assert "p@ss" not in caplog.text
    assert "jane@example.org" not in caplog.text
