"""Trying a service with the webcam: one that films a portrait, and one that must not be used."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow
from playwright.sync_api import Browser, expect

from browser.photographs import portrait
from browsing import Site, Visits, accessible, running_browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose webcam films a portrait."""
    film = tmp_path_factory.mktemp("film") / "portrait.mjpeg"
    film.write_bytes(_frame(portrait("person_a_1")) * 2)
    flags = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
    with running_browser(*flags) as running:
        yield running


def _frame(path: Path) -> bytes:
    picture = Pillow.open(path).convert("RGB")
    picture.thumbnail((640, 480))
    frame = Pillow.new("RGB", (640, 480))
    frame.paste(picture, ((640 - picture.width) // 2, 0))
    encoded = io.BytesIO()
    frame.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def test_a_picture_is_taken_with_the_webcam(visit: Visits, site: Site) -> None:
    page = visit(f"/services/{site.owner.service('DETECTION')}/try", site.owner)
    page.context.grant_permissions(["camera"])
    page.get_by_role("button", name="Use the webcam").first.click()
    take = page.get_by_role("button", name="Take the picture")
    expect(take).to_be_focused()
    accessible(page)
    take.click()
    expect(page.locator("#outcome")).to_have_text("1 face")
    expect(page.locator("#stage video")).to_be_hidden()
    assert page.evaluate("document.querySelector('#stage video').srcObject") is None


def test_the_webcam_is_looked_at_all_the_time(visit: Visits, site: Site) -> None:
    page = visit(f"/services/{site.owner.service('DETECTION')}/try", site.owner)
    page.context.grant_permissions(["camera"])
    page.get_by_role("button", name="Use the webcam").first.click()
    with page.expect_response("**/detect*"):
        page.get_by_text("Look all the time").click()
    with page.expect_response("**/detect*"):
        expect(page.locator("#stage .overlay .face-box")).to_have_count(1)
    page.get_by_role("button", name="Close the webcam").click()
    expect(page.get_by_role("heading", name="Drop a picture here")).to_be_visible()


def test_a_webcam_that_may_not_be_used_says_what_to_do(visit: Visits, site: Site) -> None:
    page = visit(f"/services/{site.owner.service('DETECTION')}/try", site.owner)
    page.get_by_role("button", name="Use the webcam").first.click()
    expect(page.get_by_role("alert").first).to_contain_text("not allowed to use the webcam")
    expect(page.get_by_role("button", name="Choose a picture")).to_be_visible()
