"""Trying a service: pictures in, faces out, what they mean, and the request behind them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import FilePayload, Page, expect

from browser.photographs import drop, group, nobody, portrait
from browsing import PHONE, Site, Visits, accessible, fits

pytestmark = pytest.mark.browser

FILE = "#stage [data-file]"


def enrolled(site: Site, **names: str) -> int:
    """Make a service that knows people by these portraits."""
    service = site.owner.service()
    for subject, name in names.items():
        answer = site.owner.client.post(
            f"/admin/api/services/{service}/examples",
            params={"subject": subject},
            files={"file": portrait(name).read_bytes()},
        )
        assert answer.status_code == 201, answer.text
    return service


def answer_of(page: Page) -> dict[str, object]:
    found: dict[str, object] = json.loads(page.locator("#answer").inner_text())
    return found


def test_faces_are_named_with_what_their_similarity_means(
    visit: Visits, site: Site, tmp_path: Path
) -> None:
    service = enrolled(site, Ada="person_a_1", Bruno="person_b_1")
    page = visit(f"/services/{service}/try", site.owner)
    expect(page.get_by_role("heading", name="Drop a picture here")).to_be_visible()
    accessible(page)
    drop(page, "#stage [data-frame]", group(tmp_path, "person_a_2", "person_b_2", "impostor_1"))
    expect(page.locator("#outcome")).to_contain_text("3 faces: Ada, Bruno")
    faces = page.locator("#faces > li")
    expect(faces).to_have_count(3)
    ada = faces.filter(has_text="Ada").first
    expect(ada).to_contain_text(re.compile(r"1 in [\d,]+ strangers would score this high"))
    expect(ada).to_contain_text("Likely")
    for said in ("Age", "Gender", "Mask", "pitch"):
        expect(ada).to_contain_text(said)
    assert page.locator(".overlay .face-box").count() == 3
    assert page.locator(".overlay .axis-front").count() == 3
    assert page.locator(".overlay .landmark").count() == 15
    accessible(page)
    page.locator(".overlay .face").nth(1).click(force=True)
    expect(faces.nth(1)).to_be_focused()


def test_the_shown_request_gives_the_shown_answer(visit: Visits, site: Site) -> None:
    application = site.owner.application()
    made = site.owner.call(
        "POST", f"/applications/{application}/services", name="Count", type="DETECTION"
    )
    page = visit(f"/services/{made['service']['id']}/try", site.owner)
    picture = portrait("person_a_1")
    page.get_by_label("106 landmarks").check()
    page.get_by_label("Most faces").fill("1")
    page.set_input_files(FILE, picture)
    expect(page.locator("#faces > li")).to_have_count(1)
    words = shlex.split(page.locator("#request-code").inner_text().replace("\\\n", " "))
    address = next(word for word in words if word.startswith("http"))
    assert "limit=1" in address
    assert "file=@person_a_1.jpg" in words
    sent = httpx.post(
        address, headers={"x-api-key": made["key"]}, files={"file": picture.read_bytes()}
    )
    shown = answer_of(page)
    assert without_times(sent.json()) == without_times(shown)
    for language, sign in (("Python", "requests.post("), ("JavaScript", "await fetch(")):
        page.get_by_label(language).check()
        expect(page.locator("#request-code")).to_contain_text(sign)
        expect(page.locator("#request-code")).to_contain_text("YOUR_API_KEY")


def without_times(document: object) -> object:
    if isinstance(document, list):
        return [without_times(one) for one in document]
    if isinstance(document, dict):
        return {k: without_times(v) for k, v in document.items() if k != "execution_time"}
    return document


def test_each_parameter_is_asked_for_at_once(visit: Visits, site: Site, tmp_path: Path) -> None:
    service = enrolled(site, Ada="person_a_1", Bruno="person_b_1")
    page = visit(f"/services/{service}/try", site.owner)
    page.set_input_files(FILE, group(tmp_path, "person_a_2", "impostor_1"))
    expect(page.locator("#faces > li")).to_have_count(2)
    page.get_by_label("Subjects for each face").fill("2")
    expect(page.locator(".matches > li")).to_have_count(2)
    page.get_by_label("From when on somebody is known").select_option("max_fmr")
    page.get_by_label("Value of the threshold").fill("0.0001")
    expect(page.locator("#outcome")).to_contain_text("2 faces: Ada, Unknown")
    expect(page.locator("#request-code")).to_contain_text("max_fmr=0.0001")
    page.get_by_label("Pose axes").uncheck()
    expect(page.locator(".overlay .axis-front")).to_have_count(0)
    page.get_by_label("Versions, times and meaning").uncheck()
    expect(page.locator("#faces")).not_to_contain_text("strangers")
    page.get_by_label("Look for faces").uncheck()
    expect(page.locator("#request-code")).to_contain_text("detect_faces=false")
    expect(page.locator("#faces > li")).to_have_count(1)


def test_a_picture_without_a_face_says_so_and_the_next_one_is_looked_at(
    visit: Visits, site: Site, tmp_path: Path
) -> None:
    page = visit(f"/services/{site.owner.service()}/try", site.owner, language="de")
    page.set_input_files(FILE, nobody(tmp_path))
    expect(page.get_by_role("alert").first).to_contain_text("kein Gesicht")
    assert answer_of(page)["code"] == 28
    accessible(page)
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    page.set_input_files(FILE, notes)
    expect(page.get_by_role("alert").first).to_have_text("notes.txt ist kein Bild.")
    expect(page.locator("#stage [data-img]")).to_have_attribute("alt", "wall.jpg")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 and nothing more")
    page.set_input_files(FILE, broken)
    expect(page.get_by_role("alert").first).to_contain_text("kein lesbares Bild")
    expect(page.locator("#stage [data-img]")).to_be_hidden()
    page.set_input_files(FILE, portrait("person_a_1"))
    expect(page.locator("#outcome")).to_have_text("1 Gesicht: Unbekannt")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_picture_is_pasted(visit: Visits, site: Site) -> None:
    page = visit(f"/services/{site.owner.service('DETECTION')}/try", site.owner)
    page.evaluate(
        """async (bytes) => {
            const transfer = new DataTransfer();
            const file = new File([new Uint8Array(bytes)], "copied.jpg", {type: "image/jpeg"});
            transfer.items.add(file);
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer}));
        }""",
        list(portrait("person_b_1").read_bytes()),
    )
    expect(page.locator("#outcome")).to_have_text("1 face")
    expect(page.locator("#request-code")).to_contain_text("copied.jpg")


def test_an_unknown_face_is_added_and_known_from_then_on(
    visit: Visits, site: Site, tmp_path: Path
) -> None:
    service = enrolled(site, Ada="person_a_1")
    page = visit(f"/services/{service}/try", site.owner)
    page.set_input_files(FILE, group(tmp_path, "person_a_2", "person_b_2"))
    expect(page.locator("#outcome")).to_contain_text("2 faces")
    doubtful = page.locator("#faces > li").filter(has_text="Unlikely")
    expect(doubtful.locator(".match-name")).to_have_text("Ada?")
    doubtful.get_by_role("button", name="Add this face").click()
    dialog = page.locator("dialog[open]")
    accessible(page)
    dialog.get_by_role("textbox").fill(" ")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).not_to_be_empty()
    dialog.get_by_role("textbox").fill("Bruno")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Bruno is known now.")).to_be_visible()
    expect(page.locator("#outcome")).to_have_text("2 faces: Ada, Bruno")


# Verification


def test_two_pictures_are_compared_and_their_faces_joined(
    visit: Visits, site: Site, tmp_path: Path
) -> None:
    page = visit(f"/services/{site.owner.service('VERIFICATION')}/try", site.owner)
    accessible(page)
    page.set_input_files("#source [data-file]", portrait("person_a_1"))
    expect(page.locator("#outcome")).to_have_text("Now give the second picture.")
    page.set_input_files("#target [data-file]", portrait("person_a_2"))
    expect(page.locator("#outcome")).to_contain_text("Very likely the same person")
    expect(page.locator("#faces")).to_contain_text("strangers would score this high")
    expect(page.locator("#bridge path.tone-good")).to_have_count(1)
    expect(page.locator("#bridge text")).to_have_text(re.compile(r"\d\d\.\d%"))
    accessible(page)
    drop(page, "#target [data-frame]", group(tmp_path, "person_b_1", "person_a_2"))
    expect(page.locator("#bridge path")).to_have_count(2)
    expect(page.locator("#faces > li").first).to_contain_text("Very likely the same person")
    expect(page.locator("#faces > li").last).to_contain_text("Probably different people")
    page.get_by_role("button", name="Swap the two pictures").click()
    expect(page.get_by_role("alert").first).to_contain_text("more than one face")
    expect(page.locator("#bridge path")).to_have_count(0)


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("Frau Müller.jpg", "Jack's (2).jpg", ("Frau Müller.jpg", "Jack's (2).jpg")),
        ("a;type=b.jpg", 'b",c.jpg', ("source_image.jpg", "target_image.jpg")),
        ("same.jpg", "same.jpg", ("source_image.jpg", "target_image.jpg")),
    ],
    ids=["letters", "signs", "twins"],
)
def test_a_shown_request_never_compares_a_file_with_itself(
    visit: Visits, site: Site, first: str, second: str, shown: tuple[str, str]
) -> None:
    page = visit(f"/services/{site.owner.service('VERIFICATION')}/try", site.owner)
    picture = portrait("person_a_1").read_bytes()
    for where, name in (("source", first), ("target", second)):
        files: FilePayload = {"name": name, "mimeType": "image/jpeg", "buffer": picture}
        page.set_input_files(f"#{where} [data-file]", files)
    expect(page.locator("#request-code")).to_contain_text("verification")
    words = shlex.split(page.locator("#request-code").inner_text().replace("\\\n", " "))
    assert f"source_image=@{shown[0]}" in words
    assert f"target_image=@{shown[1]}" in words
    page.get_by_label("Python").check()
    expect(page.locator("#request-code")).to_contain_text(f'open("{shown[1]}", "rb")')


def test_trying_fits_a_phone_in_the_dark(visit: Visits, site: Site, tmp_path: Path) -> None:
    kinds = {kind: site.owner.service(kind) for kind in ("RECOGNITION", "VERIFICATION")}
    picture = group(tmp_path, "person_a_2", "person_b_2")
    page = visit(
        f"/services/{kinds['RECOGNITION']}/try", site.owner, size=PHONE, theme="dark", language="de"
    )
    fits(page)
    page.set_input_files(FILE, picture)
    expect(page.locator("#faces > li")).to_have_count(2)
    fits(page)
    accessible(page)
    page.goto(f"/services/{kinds['VERIFICATION']}/try")
    page.set_input_files("#source [data-file]", portrait("person_a_1"))
    page.set_input_files("#target [data-file]", picture)
    expect(page.locator("#bridge path")).to_have_count(2)
    fits(page)
    accessible(page)


def test_a_service_of_others_is_not_there_to_be_tried(visit: Visits, site: Site) -> None:
    service = site.owner.service()
    page = visit(f"/services/{service}/try", site.newcomer())
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    page.goto(f"/services/{service}/faces")
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
