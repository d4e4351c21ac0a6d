"""Keeping a face collection: adding, finding, moving, merging, deleting and taking that back."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.photographs import drop, group, nobody, portrait
from browsing import PHONE, Person, Site, Visits, accessible, fits
from knownface.store.names import name_key

pytestmark = pytest.mark.browser

MANY = 100_000
UNDO_SECONDS = 9_000  # milliseconds, a little more than one has to take a deletion back
_MANY_SUBJECTS = """
INSERT INTO subject (service_id, name, name_key, sorting, created_at)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :many - 1)
SELECT :service, printf('Person %06d', i), CAST(i AS BLOB), printf('person %06d', i),
       '2026-11-22 00:00:00'
FROM n
"""


def enrolled(person: Person, **names: tuple[str, ...]) -> int:
    """Make a service that knows people by these portraits."""
    service = person.service()
    for subject, portraits in names.items():
        for name in portraits:
            answer = person.client.post(
                f"/admin/api/services/{service}/examples",
                params={"subject": subject},
                files={"file": portrait(name).read_bytes()},
            )
            assert answer.status_code == 201, answer.text
    return service


def database(site: Site) -> Path:
    return Path(site.server.environment["KNOWNFACE_DATA"]) / "knownface.db"


def known(person: Person, service: int) -> dict[str, int]:
    found = person.call("GET", f"/services/{service}/subjects?size=500")["subjects"]
    return {one["subject"]: one["examples"] for one in found}


def dialog(page: Page) -> Locator:
    return page.locator("dialog[open]")


def subject(page: Page, name: str) -> Locator:
    return page.locator("#subjects").get_by_role("option").filter(has_text=name)


def tiles(page: Page) -> Locator:
    return page.locator("#examples").get_by_role("option")


def settled(page: Page, service: int, expected: dict[str, int]) -> None:
    """Wait until the collection is what is expected, as any client of the API sees it."""
    page.wait_for_function(
        """async ([service, expected]) => {
            const answer = await fetch(`/admin/api/services/${service}/subjects?size=500`);
            const { subjects } = await answer.json();
            const found = Object.fromEntries(subjects.map((one) => [one.subject, one.examples]));
            return JSON.stringify(found) === JSON.stringify(expected);
        }""",
        arg=[service, expected],
    )


def test_an_empty_collection_teaches_and_takes_a_folder_of_folders(
    visit: Visits, site: Site, tmp_path: Path
) -> None:
    service = site.owner.service()
    page = visit(f"/services/{service}/faces", site.owner)
    expect(page.get_by_role("heading", name="Nobody is known yet")).to_be_visible()
    accessible(page)
    for name, portraits in {
        "Ada": ("person_a_1", "person_a_2"),
        "Bruno": ("person_b_1",),
    }.items():
        (tmp_path / "people" / name).mkdir(parents=True)
        for one in portraits:
            shutil.copy(portrait(one), tmp_path / "people" / name)
    (tmp_path / "people" / ".DS_Store").write_bytes(b"noise")
    drop(page, "#nobody", tmp_path / "people")
    expect(page.locator("#uploads")).to_contain_text("Done: 3 of 3 added.")
    assert known(site.owner, service) == {"Ada": 2, "Bruno": 1}
    expect(page.locator("#count")).to_have_text("2 subjects")
    expect(subject(page, "Ada")).to_contain_text("2 examples")
    expect(subject(page, "Ada").locator("img")).to_be_visible()


def test_each_picture_that_cannot_be_added_says_why(
    visit: Visits, site: Site, tmp_path: Path
) -> None:
    service = enrolled(site.owner, Ada=("person_a_1",))
    page = visit(f"/services/{service}/faces?subject=Ada", site.owner)
    expect(tiles(page)).to_have_count(1)
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 and nothing more")
    huge = tmp_path / "huge.jpg"
    huge.write_bytes(bytes(6 << 20))
    pictures = [
        portrait("person_a_2"),
        nobody(tmp_path),
        group(tmp_path, "person_a_1", "person_b_1"),
    ]
    page.set_input_files("#files", [*pictures, notes, broken, huge])
    uploads = page.locator("#uploads")
    expect(uploads).to_contain_text("Done: 1 of 6 added. 5 could not be added")
    accessible(page)
    page.locator("#upload-list").focus()
    for name, reason in {
        "wall.jpg": "no face",
        "group.jpg": "more than one face",
        "notes.txt": "not a picture",
        "broken.jpg": "not a picture that can be read",
        "huge.jpg": "too large",
    }.items():
        expect(uploads.get_by_role("option").filter(has_text=name)).to_contain_text(reason)
    expect(tiles(page)).to_have_count(2)
    assert known(site.owner, service) == {"Ada": 2}
    page.get_by_role("button", name="Try again").click()
    expect(uploads).to_contain_text("Done: 0 of 5 added. 5 could not be added")


def test_pictures_that_no_folder_names_ask_whose_they_are(visit: Visits, site: Site) -> None:
    service = site.owner.service()
    page = visit(f"/services/{service}/faces", site.owner)
    page.set_input_files("#files", portrait("person_b_1"))
    accessible(page)
    dialog(page).get_by_label("Name").fill("Bruno")
    dialog(page).get_by_role("button", name="Add the pictures").click()
    expect(page.get_by_role("heading", name="Bruno")).to_be_visible()
    expect(tiles(page)).to_have_count(1)
    assert known(site.owner, service) == {"Bruno": 1}


def test_a_deletion_is_taken_back_or_final_after_some_seconds(visit: Visits, site: Site) -> None:
    service = enrolled(site.owner, Ada=("person_a_1", "person_a_2"))
    page = visit("/", site.owner, kept=False)
    page.clock.install()
    page.goto(f"/services/{service}/faces?subject=Ada")
    tiles(page).first.click()
    expect(page.locator("#selected")).to_have_text("1 selected")
    accessible(page)
    page.locator("#delete-selected").click()
    expect(page.locator(".tile.leaving")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".tile.leaving")).to_have_count(0)
    page.clock.fast_forward(UNDO_SECONDS)
    assert known(site.owner, service) == {"Ada": 2}
    tiles(page).first.click()
    page.keyboard.press("Delete")
    expect(page.locator(".tile.leaving")).to_have_count(1)
    assert known(site.owner, service) == {"Ada": 2}
    page.clock.fast_forward(UNDO_SECONDS)
    settled(page, service, {"Ada": 1})


def test_leaving_the_page_makes_a_deletion_final(visit: Visits, site: Site) -> None:
    service = enrolled(site.owner, Ada=("person_a_1",), Bruno=("person_b_1", "person_b_2"))
    page = visit(f"/services/{service}/faces?subject=Bruno", site.owner)
    tiles(page).first.click()
    page.locator("#delete-selected").click()
    subject(page, "Ada").click()
    page.locator("#delete-subject").click()
    expect(page.locator(".subject.leaving")).to_have_count(1)
    assert known(site.owner, service) == {"Ada": 1, "Bruno": 2}
    page.goto(f"/services/{service}")
    settled(page, service, {"Bruno": 1})


def test_a_deleted_photograph_is_shown_nowhere(visit: Visits, site: Site) -> None:
    service = enrolled(site.owner, Ada=("person_a_1", "person_a_2"))
    page = visit(f"/services/{service}/faces?subject=Ada", site.owner)
    shown = tiles(page).first.locator("img")
    expect(shown).to_be_visible()
    tiles(page).first.click()
    address = page.locator("#examples [aria-selected=true] img").get_attribute("src")
    page.locator("#delete-selected").click()
    page.goto(f"/services/{service}")
    settled(page, service, {"Ada": 1})
    status = page.evaluate("async (address) => (await fetch(address)).status", address)
    assert status == 404


def test_a_rename_warns_before_it_merges(visit: Visits, site: Site) -> None:
    service = enrolled(site.owner, Ada=("person_a_1", "person_a_2"), Bruno=("person_b_1",))
    page = visit(f"/services/{service}/faces?subject=Ada", site.owner)
    expect(tiles(page)).to_have_count(2)

    def rename(name: str) -> None:
        page.locator("#rename").click()
        dialog(page).get_by_label("New name").fill(name)
        dialog(page).get_by_role("button", name="Rename").click()

    rename("Ada Able")
    expect(page.get_by_role("heading", name="Ada Able")).to_be_visible()
    rename("bruno")
    warning = dialog(page)
    expect(warning).to_contain_text("Merge Ada Able into Bruno?")
    expect(warning).to_contain_text("There is a subject Bruno already, with 1 example.")
    expect(warning).to_contain_text("moves 2 examples")
    accessible(page)
    warning.get_by_role("button", name="Cancel").click()
    assert known(site.owner, service) == {"Ada Able": 2, "Bruno": 1}
    rename("bruno")
    warning.get_by_role("button", name="Merge").click()
    expect(tiles(page)).to_have_count(3)
    assert known(site.owner, service) == {"Bruno": 3}


def test_a_subject_that_is_called_like_a_folder_above_is_renamed_and_deleted(
    visit: Visits, site: Site
) -> None:
    service = enrolled(site.owner, Ada=("person_a_1",), Bruno=("person_b_1",), Cleo=("person_a_2",))
    # Such names are refused by now; a collection may have them from before.
    with sqlite3.connect(database(site), timeout=60) as connection:
        for before, name in (("Ada", ".."), ("Bruno", ".")):
            changed = connection.execute(
                "UPDATE subject SET name = ?, name_key = ?, sorting = ?"
                " WHERE service_id = ? AND name = ?",
                (name, name_key(name), name, service, before),
            )
            assert changed.rowcount == 1
    connection.close()
    page = visit(f"/services/{service}/faces?subject=..", site.owner)
    expect(tiles(page)).to_have_count(1)
    page.locator("#rename").click()
    dialog(page).get_by_label("New name").fill("Dora")
    dialog(page).get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name="Dora")).to_be_visible()
    page.goto(f"/services/{service}/faces?subject=.")
    expect(tiles(page)).to_have_count(1)
    page.locator("#delete-subject").click()
    page.goto(f"/services/{service}")
    settled(page, service, {"Cleo": 1, "Dora": 1})


def test_pictures_are_moved_with_the_keyboard_alone(visit: Visits, site: Site) -> None:
    service = enrolled(site.owner, Ada=("person_a_1", "person_a_2"), Bruno=("person_b_1",))
    page = visit(f"/services/{service}/faces", site.owner)
    page.get_by_role("searchbox").fill("AD")
    expect(page.locator("#count")).to_have_text("1 subject found")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(tiles(page)).to_have_count(2)
    page.locator("#examples").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(tiles(page).nth(1)).to_have_attribute("aria-selected", "true")
    page.locator("#move").press("Enter")
    page.keyboard.type("Bruno")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 picture moved to Bruno")).to_be_visible()
    expect(tiles(page)).to_have_count(1)
    assert known(site.owner, service) == {"Ada": 1, "Bruno": 2}
    page.get_by_role("searchbox").fill("nobody of this name")
    expect(page.get_by_role("heading", name="Nobody of that name")).to_be_visible()
    accessible(page)


def test_a_subject_is_added_without_pictures_and_not_twice(visit: Visits, site: Site) -> None:
    service = enrolled(site.owner, Ada=("person_a_1",))
    page = visit(f"/services/{service}/faces", site.owner)
    page.locator("#add-subject").click()
    dialog(page).get_by_label("Name").fill("ADA")
    dialog(page).get_by_role("button", name="Add").click()
    expect(dialog(page).get_by_role("alert")).not_to_be_empty()
    dialog(page).get_by_label("Name").fill("Cleo")
    dialog(page).get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="No pictures yet")).to_be_visible()
    accessible(page)
    assert known(site.owner, service) == {"Ada": 1, "Cleo": 0}


def test_a_hundred_thousand_subjects_need_no_more_of_the_page_than_a_few(
    visit: Visits, site: Site
) -> None:
    service = site.owner.service()
    _fill(database(site), service)
    page = visit(f"/services/{service}/faces", site.owner)
    expect(page.locator("#count")).to_have_text("100,000 subjects")
    expect(subject(page, "Person 000000")).to_be_visible()
    box = page.locator("#subjects")
    box.focus()
    few = page.evaluate("document.querySelectorAll('*').length")
    page.keyboard.press("End")
    expect(subject(page, "Person 099999")).to_be_visible()
    # Flying over all of them asks for hardly any.
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    frames = page.evaluate(
        """async (box) => {
            const step = box.scrollHeight / 120;
            const frames = [];
            let before = performance.now();
            for (let top = 0; top < box.scrollHeight; top += step) {
                box.scrollTop = top;
                await new Promise(requestAnimationFrame);
                frames.push(performance.now() - before);
                before = performance.now();
            }
            return frames.sort((one, other) => one - other);
        }""",
        box.element_handle(),
    )
    page.evaluate("(box) => { box.scrollTop = box.scrollHeight / 2; }", box.element_handle())
    expect(subject(page, "Person 05000").first).to_be_visible()
    assert page.evaluate("document.querySelectorAll('*').length") <= few + 60
    assert len(asked) < len(frames) / 2
    page.get_by_role("searchbox").fill("077777")
    expect(page.locator("#count")).to_have_text("1 subject found")
    expect(subject(page, "Person 077777")).to_be_visible()


def _fill(database: Path, service: int) -> None:
    """Write as many subjects as a large company has people, in one go."""
    with sqlite3.connect(database, timeout=60) as connection:
        connection.execute(_MANY_SUBJECTS, {"service": service, "many": MANY})
    connection.close()


def test_the_collection_fits_a_phone_in_the_dark(visit: Visits, site: Site) -> None:
    service = enrolled(site.owner, Ada=("person_a_1", "person_a_2"))
    page = visit(f"/services/{service}/faces", site.owner, size=PHONE, theme="dark", language="de")
    fits(page)
    accessible(page)
    subject(page, "Ada").click()
    expect(tiles(page)).to_have_count(2)
    expect(page.locator("#subjects")).to_be_hidden()
    tiles(page).first.click()
    fits(page)
    accessible(page)
    page.get_by_role("button", name="Zurück zu den Personen").click()
    expect(page.locator("#subjects")).to_be_visible()
