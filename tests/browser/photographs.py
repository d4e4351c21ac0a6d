"""Openly licensed portraits for tests in a browser, and what they are dropped as."""

from __future__ import annotations

from pathlib import Path

from PIL import Image as Pillow
from playwright.sync_api import Page

from servers import portraits_folder, real_settings

HEIGHT = 480


def portrait(name: str) -> Path:
    """Return a portrait, or skip where there are none, or no weights that see faces in them."""
    real_settings()
    return portraits_folder() / f"{name}.jpg"


def group(folder: Path, *names: str) -> Path:
    """Make one picture of several portraits side by side."""
    pictures = [Pillow.open(portrait(name)).convert("RGB") for name in names]
    pictures = [one.resize((one.width * HEIGHT // one.height, HEIGHT)) for one in pictures]
    made = Pillow.new("RGB", (sum(one.width for one in pictures), HEIGHT))
    left = 0
    for one in pictures:
        made.paste(one, (left, 0))
        left += one.width
    made.save(folder / "group.jpg")
    return folder / "group.jpg"


def nobody(folder: Path) -> Path:
    """Make a picture without a face."""
    Pillow.new("RGB", (320, 240), (90, 120, 90)).save(folder / "wall.jpg")
    return folder / "wall.jpg"


def drop(page: Page, selector: str, *paths: Path) -> None:
    """Drop files and folders as a file manager does, which no script of a page can."""
    box = page.locator(selector).bounding_box()
    assert box
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})
