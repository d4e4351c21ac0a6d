"""Photograph every screen: light, dark and as wide as a phone, on a server with something in it.

    python scripts/screenshots.py FOLDER [--models FOLDER] [--portraits FOLDER] [--only WORD]

Each screen becomes FOLDER/<screen>-<look>.png. Needs a Chromium (Debian's package `chromium`).
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ADMIN = "/admin/api"
PASSWORD = "correct horse battery"  # noqa: S105 - of a server that lives for a minute
PEOPLE = (("Jonas", "Lindqvist", "ADMINISTRATOR"), ("Mei", "Tanaka", "USER"))
NAMES = {"a": "Emmanuel", "b": "Jacinda"}


@dataclass(frozen=True)
class Look:
    """A way to look at a page."""

    name: str
    width: int
    height: int
    theme: str
    language: str


LOOKS = (
    Look("light", 1280, 860, "light", "en"),
    Look("dark", 1280, 860, "dark", "en"),
    Look("phone", 390, 844, "light", "de"),
)


@dataclass(frozen=True)
class Scene:
    """A server with an owner, people, an application and its services."""

    address: str
    owner: httpx.Client
    application: int
    services: Mapping[str, int]

    @property
    def screens(self) -> dict[str, str]:
        """Every screen for who is signed in, by its name."""
        recognition, verification = self.services["RECOGNITION"], self.services["VERIFICATION"]
        return {
            "applications": "/",
            "application": f"/applications/{self.application}",
            "service": f"/services/{recognition}",
            "try": f"/services/{recognition}/try",
            "verification": f"/services/{verification}/try",
            "faces": f"/services/{recognition}/faces",
            "users": "/users",
            "system": "/system",
            "profile": "/profile",
            "welcome-application": "/welcome/application",
            "welcome-service": f"/welcome/service?application={self.application}",
        }


def main() -> int:
    """Take all pictures; return the exit code."""
    options = _options()
    chromium = shutil.which(os.environ.get("KNOWNFACE_TEST_BROWSER", "chromium"))
    if chromium is None:
        print("There is no Chromium here: apt-get install chromium", file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="knownface-screens-") as data,
        _server(Path(data), options.models) as address,
        sync_playwright() as playwright,
    ):
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        _entrance(browser, address, options.folder, options.only)
        scene = _furnish(address, options.portraits)
        _count(Path(data), scene.services)
        _inside(browser, scene, options)
        scene.owner.close()
        browser.close()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--models", type=Path, help="folder of the installed models")
    parser.add_argument("--portraits", type=Path, help="folder of the six portraits")
    parser.add_argument("--only", default="", help="take only screens whose name holds this")
    return parser.parse_args()


@contextmanager
def _server(data: Path, models: Path | None) -> Iterator[str]:
    """Run a server on a free port with an empty data folder and yield its address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KNOWNFACE_")}
    if models:
        kept["KNOWNFACE_MODELS_DIR"] = str(models.absolute())
    command = [sys.executable, "-m", "knownface", "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--data", str(data), "--log-level", "warning", "--log-format", "text"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=kept, cwd=data)
    try:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Ready."):
                break
        found = re.search(r"http://[\w.:]+", "".join(said))
        if found is None:
            raise RuntimeError("the server did not start")
        yield found[0]
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.communicate()


def _entrance(browser: Browser, address: str, folder: Path, only: str) -> None:
    """Photograph what is seen before anybody is signed in, the welcome first."""
    _look(browser, address, folder, {"welcome": "/welcome"}, only)
    _sign_up(address, "vera@example.org", "Vera", "Okafor").close()
    screens = {"login": "/login", "signup": "/signup", "forgot": "/forgot", "reset": "/reset/link"}
    _look(browser, address, folder, screens, only)


def _inside(browser: Browser, scene: Scene, options: argparse.Namespace) -> None:
    cookie = scene.owner.cookies["knownface_session"]
    folder, only = options.folder, options.only
    act = _acts(options.portraits) if options.portraits else {}
    _look(browser, scene.address, folder, scene.screens, only, cookie=cookie, act=act)


def _acts(portraits: Path) -> dict[str, Callable[[Page], object]]:
    """Return what is done on a screen before its picture is taken."""
    one = (portraits / "person_a_1.jpg").read_bytes()
    several = _side_by_side(
        *(portraits / f"{name}.jpg" for name in ("person_a_2", "person_b_2", "impostor_1"))
    )

    def send(page: Page, where: str, picture: bytes) -> None:
        files = [{"name": "picture.jpg", "mimeType": "image/jpeg", "buffer": picture}]
        page.locator(f"{where} [data-file]").set_input_files(files)  # type: ignore[arg-type]  # its TypedDict

    def try_it(page: Page) -> None:
        send(page, "#stage", several)
        page.locator("#faces > li").first.wait_for()

    def verify(page: Page) -> None:
        send(page, "#source", one)
        send(page, "#target", several)
        page.locator("#answer", has_text="face_matches").wait_for()

    def collect(page: Page) -> None:
        page.get_by_text(NAMES["a"]).first.click()
        page.locator("#examples img").first.wait_for()
        page.wait_for_function(
            "[...document.querySelectorAll('#examples img')].every((one) => one.complete)"
        )

    return {"try": try_it, "verification": verify, "faces": collect}


def _side_by_side(*files: Path) -> bytes:
    pictures = [Image.open(file).convert("RGB") for file in files]
    high = 480
    scaled = [one.resize((round(one.width * high / one.height), high)) for one in pictures]
    joined = Image.new("RGB", (sum(one.width for one in scaled), high))
    left = 0
    for one in scaled:
        joined.paste(one, (left, 0))
        left += one.width
    written = io.BytesIO()
    joined.save(written, "JPEG", quality=92)
    return written.getvalue()


def _look(
    browser: Browser,
    address: str,
    folder: Path,
    screens: Mapping[str, str],
    only: str,
    *,
    cookie: str | None = None,
    act: Mapping[str, Callable[[Page], object]] | None = None,
) -> None:
    """Photograph screens, whole, in each look; `act` does something on one first."""
    for look in LOOKS:
        context = browser.new_context(
            base_url=address,
            viewport={"width": look.width, "height": look.height},
            color_scheme="dark" if look.theme == "dark" else "light",
            locale="de-DE" if look.language == "de" else "en-GB",
            reduced_motion="reduce",
        )
        if cookie:
            context.add_cookies([{"name": "knownface_session", "value": cookie, "url": address}])
        page = context.new_page()
        for name, path in screens.items():
            if only not in name:
                continue
            page.goto(path)
            page.wait_for_load_state("networkidle")
            if act and name in act:
                act[name](page)
            page.screenshot(path=folder / f"{name}-{look.name}.png", full_page=True)
            print(f"{name}-{look.name}")
        context.close()


def _furnish(address: str, portraits: Path | None) -> Scene:
    """Fill a server with what makes its screens worth looking at."""
    owner = _sign_in(address, "vera@example.org")
    application = int(_call(owner, "POST", "/applications", name="Front door")["id"])
    _call(owner, "POST", "/applications", name="Photo archive")
    for first, last, role in PEOPLE:
        link = _call(owner, "POST", "/invitations", role="USER")["link"]
        email = f"{first.lower()}@example.org"
        _sign_up(address, email, first, last, link.rpartition("/")[2]).close()
        _call(owner, "POST", f"/applications/{application}/members", email=email, role=role)
    _call(owner, "POST", "/invitations", role="USER", email="ada@example.org")
    services, keys = {}, {}
    names = {
        "RECOGNITION": "Who is there",
        "DETECTION": "Is anybody there",
        "VERIFICATION": "Badge and camera",
    }
    for kind, name in names.items():
        path = f"/applications/{application}/services"
        made = _call(owner, "POST", path, name=name, type=kind)
        services[kind], keys[kind] = int(made["service"]["id"]), made["key"]
    path = f"/services/{services['RECOGNITION']}/keys"
    ends = (datetime.now(UTC) + timedelta(days=90)).isoformat()
    _call(owner, "POST", path, name="Camera in the yard", expires_at=ends)
    _call(owner, "POST", "/me/tokens", name="Nightly import", expires_at=ends)
    if portraits:
        _enrol(address, keys["RECOGNITION"], portraits)
    return Scene(address, owner, application, services)


def _enrol(address: str, key: str, portraits: Path) -> None:
    for file in sorted(portraits.glob("person_*_1.jpg")):
        subject = NAMES[file.stem.split("_")[1]]
        httpx.post(
            f"{address}/api/v1/recognition/faces",
            params={"subject": subject},
            headers={"x-api-key": key},
            files={"file": file.read_bytes()},
            timeout=60,
        ).raise_for_status()


def _count(data: Path, services: Mapping[str, int]) -> None:
    """Write months of requests into the database, as if there had been some."""
    chance = Random(7)
    today = datetime.now(UTC).date()
    rows = []
    for service in services.values():
        for back in range(150):
            day = today - timedelta(days=back)
            slow = chance.choice((-1, 0, 0, 0, 1))
            calm = 0.15 if day.weekday() > 4 else 1.0
            number = int(calm * chance.gauss(420 - back, 70))
            for bucket, share in ((16 + slow, 0.5), (17 + slow, 0.35), (19 + slow, 0.15)):
                asked = max(0, int(number * share))
                milliseconds = int(asked * 1.25**bucket)
                rows.append((service, day.isoformat(), "ok", bucket, asked, milliseconds))
            rows.append((service, day.isoformat(), "client", 5, max(0, number // 25), number // 8))
    with sqlite3.connect(data / "knownface.db") as database:
        database.executemany(
            "insert or replace into usage "
            "(service_id, day, outcome, bucket, requests, milliseconds) values (?, ?, ?, ?, ?, ?)",
            rows,
        )
    database.close()


def _sign_up(
    address: str, email: str, first: str, last: str, invitation: str | None = None
) -> httpx.Client:
    client = httpx.Client(base_url=address, timeout=60)
    body = {"email": email, "first_name": first, "last_name": last, "password": PASSWORD}
    _enter(client, "/users", body | ({"invitation": invitation} if invitation else {}))
    return client


def _sign_in(address: str, email: str) -> httpx.Client:
    client = httpx.Client(base_url=address, timeout=60)
    _enter(client, "/session", {"email": email, "password": PASSWORD})
    return client


def _enter(client: httpx.Client, path: str, body: Mapping[str, str]) -> None:
    answer = client.post(f"{ADMIN}{path}", json=body).raise_for_status()
    client.headers["x-csrf-token"] = answer.json()["csrf_token"]


def _call(client: httpx.Client, method: str, path: str, **body: str) -> Any:
    return client.request(method, f"{ADMIN}{path}", json=body).raise_for_status().json()


if __name__ == "__main__":
    sys.exit(main())
