"""People at the admin API: each with a browser or an access token of his own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx2
from fastapi import FastAPI
from fastapi.testclient import TestClient

from knownface.app import App
from knownface.identity import Place
from knownface.identity.passwords import hashed
from knownface.people import Role, User
from knownface.store.people import Newcomer

API = "/admin/api"
PASSWORD = "correct horse battery"
_HASH = hashed(PASSWORD)  # once: a hash is slow on purpose
_numbers = count(1)


@dataclass
class Browser:
    """Somebody's browser: it keeps cookies, and its page sends the CSRF token."""

    client: TestClient
    user: User | None = None
    csrf: str | None = None

    def __call__(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = options.pop("headers", {})
        if self.csrf and method not in ("GET", "HEAD"):
            headers = {"X-CSRF-Token": self.csrf, **headers}
        return self.client.request(method, f"{API}{path}", headers=headers, **options)


def browser(server: FastAPI) -> Browser:
    """Return a browser in which nobody is signed in; the server runs already."""
    return Browser(TestClient(server, base_url="http://localhost"))


def new_user(app: App, role: Role = Role.USER, name: str = "user", *, email: str = "") -> User:
    """Make an account with PASSWORD, beside the API."""
    email = email or f"{name}{next(_numbers)}@example.org"
    with app.store.begin() as tx:
        made = tx.add_user(Newcomer(email, name.capitalize(), "Doe", role, _HASH))
    assert made, email
    return made


def signed_in(app: App, server: FastAPI, user: User) -> Browser:
    """Return a browser in which this user is signed in, without asking the API."""
    entered = app.identity.sign_in(user.email, PASSWORD, Place("192.0.2.1"))
    own = browser(server)
    own.client.cookies.set("knownface_session", entered.cookie)
    return Browser(own.client, entered.user, entered.csrf_token)


def owner(app: App) -> User:
    """Return the server's owner, made if there is none."""
    with app.store.snapshot() as tx:
        found = tx.owner()
    return found or new_user(app, Role.OWNER, "owner")


def new_application(app: App, **members: tuple[User, Role]) -> int:
    """Make an application with these members and return its number."""
    with app.store.begin() as tx:
        made = tx.create_application(f"application {next(_numbers)}")
        for user, role in members.values():
            tx.set_membership(made.id, user.id, role)
    return made.id
