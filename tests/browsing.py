"""A real browser in front of a real server: what somebody sees, does, and is told."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, sync_playwright

from servers import Server

PASSWORD = "correct horse battery"
ADMIN = "/admin/api"
COOKIE = "knownface_session"
PATIENCE = 20_000  # milliseconds, for a machine that is busy with other tests
DESKTOP, PHONE = (1280, 860), (390, 844)
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str:
    """Return the browser of this system, or skip."""
    named = os.environ.get("KNOWNFACE_TEST_BROWSER")
    for name in (named,) if named else _NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium here: `apt-get install chromium`, or set KNOWNFACE_TEST_BROWSER")


@contextmanager
def running_browser(*more: str) -> Iterator[Browser]:
    """Start the browser, with more flags; one of a test module's own, for an event loop comes
    with it.
    """
    # A container has no user namespaces for the sandbox, and a small /dev/shm.
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    path = browser_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*flags, *more])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Person:
    """Somebody with an account, and a client that acts as he does in his browser."""

    client: httpx.Client
    email: str

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the admin API and return its answer, which has to be a good one."""
        answer = self.client.request(method, f"{ADMIN}{path}", json=body or None)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def application(self, name: str | None = None) -> int:
        return int(self.call("POST", "/applications", name=name or unique("App"))["id"])

    def service(
        self, kind: str = "RECOGNITION", name: str = "Door", application: int | None = None
    ) -> int:
        parent = application or self.application()
        made = self.call("POST", f"/applications/{parent}/services", name=name, type=kind)
        return int(made["service"]["id"])


def unique(word: str) -> str:
    return f"{word} {uuid.uuid4().hex[:8]}"


def sign_up(
    address: str, email: str, first: str, last: str, invitation: str | None = None
) -> Person:
    """Make an account; the first one owns the server."""
    client = httpx.Client(base_url=address, timeout=60)
    body = {"email": email, "first_name": first, "last_name": last, "password": PASSWORD}
    answer = client.post(
        f"{ADMIN}/users", json=body | ({"invitation": invitation} if invitation else {})
    )
    assert answer.status_code == 201, answer.text
    client.headers["x-csrf-token"] = answer.json()["csrf_token"]
    return Person(client, email)


@dataclass
class Site:
    """A running server and the people who know it."""

    server: Server
    owner: Person
    people: list[Person] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.server.address

    def opens(self, kind: str, key: str) -> bool:
        """Tell whether a key is one of a service of this kind; no picture is sent."""
        call = {"detection": "detect", "verification": "verify"}[kind]
        answer = httpx.post(f"{self.address}/api/v1/{kind}/{call}", headers={"x-api-key": key})
        assert answer.status_code in {404, 415}, answer.text
        return answer.status_code == 415  # which is said of the body, once the key is known

    def close(self) -> None:
        for person in (self.owner, *self.people):
            person.client.close()

    def newcomer(self, first: str = "Mei", last: str = "Tanaka") -> Person:
        """Invite somebody, who signs up."""
        link = self.owner.call("POST", "/invitations", role="USER")["link"]
        email = f"{uuid.uuid4().hex[:8]}@example.org"
        person = sign_up(self.address, email, first, last, link.rpartition("/")[2])
        self.people.append(person)
        return person


class Tab(NamedTuple):
    """A page in a context, and so with cookies, of its own."""

    page: Page
    address: str
    locale: str


class Tabs:
    """Tabs of one browser, kept between tests: a new one takes longer than most tests."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._idle: list[Tab] = []

    def take(self, address: str, locale: str) -> Tab:
        """Return an empty tab that nobody else has, for one server and one language."""
        for tab in self._idle:
            if (tab.address, tab.locale) == (address, locale):
                self._idle.remove(tab)
                return tab
        context = self._browser.new_context(
            base_url=address, locale=locale, reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE)
        return Tab(context.new_page(), address, locale)

    def give_back(self, tab: Tab) -> None:
        """Leave nothing of what was done in a tab, and keep it for the next test."""
        context = tab.page.context
        try:
            tab.page.evaluate("sessionStorage.clear(), localStorage.clear()")
            tab.page.goto("about:blank")
            context.clear_cookies()
            context.clear_permissions()
        except Error:  # a page that went away or hangs, as one may after a test that failed
            context.close()
        else:
            self._idle.append(tab)


@dataclass
class Visits:
    """Opens pages in tabs of their own and remembers what went wrong in them."""

    tabs: Tabs
    site: Site
    complaints: list[str] = field(default_factory=list)
    _used: dict[Tab, bool] = field(default_factory=dict)

    def __call__(
        self,
        path: str,
        who: Person | None = None,
        *,
        size: tuple[int, int] = DESKTOP,
        theme: str = "light",
        language: str = "en",
        kept: bool = True,
    ) -> Page:
        """Open a page as somebody, or as nobody who is signed in.

        A tab that is not `kept` is given to no other test: its clock may be changed.
        """
        tab = self.tabs.take(self.site.address, "de-DE" if language == "de" else "en-GB")
        self._used[tab] = kept
        page = tab.page
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        if who is not None:
            cookie = who.client.cookies[COOKIE]
            page.context.add_cookies([{"name": COOKIE, "value": cookie, "url": tab.address}])
        page.on("pageerror", self._failed)
        page.on("console", self._heard)
        page.goto(path)
        return page

    def _failed(self, error: Error) -> None:
        self.complaints.append(str(error))

    def _heard(self, message: ConsoleMessage) -> None:
        # That a call was refused is what a test of a refusal is about; all else is a mistake.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.location['url']}: {message.text}")

    def close(self) -> None:
        for tab, kept in self._used.items():
            tab.page.remove_listener("pageerror", self._failed)
            tab.page.remove_listener("console", self._heard)
            if kept:
                self.tabs.give_back(tab)
            else:
                tab.page.context.close()
        self._used.clear()


def accessible(page: Page) -> None:
    """Hold a page, as it is now, against what axe-core knows of accessibility."""
    found = Axe().run(page).response["violations"]
    told = [
        (one["impact"], one["id"], one["help"], [node["html"][:120] for node in one["nodes"]])
        for one in found
    ]
    assert not told, "\n".join(map(str, told))


def fits(page: Page) -> None:
    """Hold that nothing reaches beyond the width of the window."""
    wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0, f"{page.url} is {wide} px too wide"
