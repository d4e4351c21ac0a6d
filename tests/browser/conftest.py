"""One server for all tests in a browser, and a browser for each module of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from browsing import Site, Tabs, Visits, browser_path, running_browser, sign_up
from servers import real_settings, running_server, tiny_settings


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with the real weights where they are, and its owner."""
    browser_path()
    folder = tmp_path_factory.mktemp("site")
    real = bool(os.environ.get("KNOWNFACE_TEST_MODELS"))
    with running_server(folder, real_settings() if real else tiny_settings(folder)) as server:
        found = Site(server, sign_up(server.address, "vera@example.org", "Vera", "Okafor"))
        yield found
        found.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def tabs(browser: Browser) -> Tabs:
    return Tabs(browser)


@pytest.fixture
def visit(tabs: Tabs, site: Site) -> Iterator[Visits]:
    """Open pages: `visit("/users", site.owner)`. No page may have complained in the end."""
    visits = Visits(tabs, site)
    yield visits
    visits.close()
    assert visits.complaints == []
