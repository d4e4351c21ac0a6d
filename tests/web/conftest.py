"""A whole program with its pages, on small real models and SQLite, and visitors of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

import tiny_models
from knownface.app import App, build
from knownface.settings import Settings
from knownface.web.server import create_site

PASSWORD = "correct horse battery"
ADMIN = "/admin/api"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("site")
    tiny_models.write_models(folder / "models")
    settings = Settings(
        data=folder / "data",
        models_dir=folder / "models",
        detector=tiny_models.DETECTOR,
        embedder=tiny_models.EMBEDDER,
        slots=1,
        offline=True,
    )
    with build(settings) as app:
        yield app


@pytest.fixture(scope="module")
def new_visitor(app: App) -> Iterator[Callable[[], TestClient]]:
    """Return what makes another browser, in which nobody is signed in."""
    site = create_site(app)
    with TestClient(site):  # its lifetime is that of the site

        def visitor() -> TestClient:
            return TestClient(site, follow_redirects=False)

        yield visitor


@pytest.fixture
def visitor(new_visitor: Callable[[], TestClient]) -> TestClient:
    return new_visitor()


@pytest.fixture(scope="module")
def owner(new_visitor: Callable[[], TestClient]) -> TestClient:
    """The browser of the server's owner; what changes something carries the CSRF token."""
    return signed_up(new_visitor(), "owner@example.org", "Vera", "Okafor")


@pytest.fixture(scope="module")
def member(new_visitor: Callable[[], TestClient], owner: TestClient) -> TestClient:
    """The browser of somebody with the role USER, who belongs to no application."""
    made = owner.post(f"{ADMIN}/invitations", json={"role": "USER"})
    token = made.json()["link"].rpartition("/")[2]
    return signed_up(new_visitor(), "member@example.org", "Mei", "Tanaka", token)


def signed_up(
    browser: TestClient, email: str, first: str, last: str, invitation: str | None = None
) -> TestClient:
    body = {"email": email, "first_name": first, "last_name": last, "password": PASSWORD}
    answer = browser.post(
        f"{ADMIN}/users", json=body | ({"invitation": invitation} if invitation else {})
    )
    assert answer.status_code == 201, answer.text
    browser.headers["x-csrf-token"] = answer.json()["csrf_token"]
    return browser
