"""What somebody who is signed in does: applications, services, people, the system, himself."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from browsing import ADMIN, PASSWORD, PHONE, Site, Visits, accessible, fits, unique

pytestmark = pytest.mark.browser


def dialog(page: Page) -> Locator:
    return page.locator("dialog[open]")


def secret(page: Page) -> str:
    """Return what is shown only now, and put it away."""
    shown = page.locator("#secret-value")
    expect(shown).to_be_visible()
    value = shown.inner_text()
    dialog(page).get_by_role("button", name="Done").click()
    return value


def row(page: Page, text: str) -> Locator:
    return page.get_by_role("row").filter(has_text=text)


def test_an_application_is_made_found_and_refused_under_the_same_name(
    visit: Visits, site: Site
) -> None:
    name = unique("Archive")
    page = visit("/", site.owner)
    page.get_by_role("button", name="Create application").click()
    accessible(page)
    dialog(page).get_by_label("Name of the application").fill(name)
    dialog(page).get_by_role("button", name="Create application").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("No service yet")).to_be_visible()
    page.goto("/")
    page.get_by_role("searchbox").fill(name[-8:])
    expect(page.locator(".cards > li")).to_have_count(1)
    accessible(page)
    page.get_by_role("button", name="Create application").click()
    dialog(page).get_by_label("Name of the application").fill(name)
    dialog(page).get_by_role("button", name="Create application").click()
    expect(dialog(page).get_by_role("alert")).not_to_be_empty()
    page.keyboard.press("Escape")
    expect(dialog(page)).to_have_count(0)
    page.get_by_role("searchbox").fill("no such thing")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()


def test_a_service_is_made_with_a_key_that_works(visit: Visits, site: Site) -> None:
    number = site.owner.application()
    page = visit(f"/applications/{number}", site.owner)
    page.get_by_role("button", name="Create service").first.click()
    dialog(page).get_by_label("Name").fill("Gate")
    dialog(page).get_by_role("radio", name="Detection").check()
    accessible(page)
    dialog(page).get_by_role("button", name="Create service").click()
    key = secret(page)
    expect(page.get_by_role("heading", name="Gate", level=1)).to_be_visible()
    assert site.opens("detection", key)
    page.goto(f"/applications/{number}")
    expect(row(page, "Gate")).to_contain_text("Detection")
    page.get_by_role("button", name="Create service").first.click()
    dialog(page).get_by_label("Name").fill("gate")
    dialog(page).get_by_role("button", name="Create service").click()
    expect(dialog(page).get_by_role("alert")).not_to_be_empty()


def test_members_are_invited_given_a_role_and_removed(visit: Visits, site: Site) -> None:
    person, number = site.newcomer("Jonas", "Lindqvist"), site.owner.application()
    page = visit(f"/applications/{number}", site.owner)
    page.get_by_role("button", name="Invite").click()
    dialog(page).get_by_label("E-mail").fill(person.email)
    accessible(page)
    dialog(page).get_by_role("button", name="Invite").click()
    role = page.get_by_label("Role of Jonas Lindqvist")
    expect(role).to_have_value("USER")
    role.select_option("ADMINISTRATOR")
    expect(page.get_by_role("status")).to_contain_text("The role of Jonas Lindqvist is changed.")
    assert (
        visit(f"/applications/{number}", person)
        .get_by_role("button", name="Create service")
        .first.is_visible()
    )
    page.get_by_role("button", name="Invite").click()
    dialog(page).get_by_label("E-mail").fill(f"{unique('new')[-8:]}@example.org")
    dialog(page).get_by_role("button", name="Invite").click()
    assert "/join/" in secret(page)
    page.get_by_role("button", name="Remove Jonas Lindqvist").click()
    dialog(page).get_by_role("button", name="Remove").click()
    expect(role).to_have_count(0)
    gone = visit(f"/applications/{number}", person)
    expect(gone.get_by_role("heading", name="Nothing here")).to_be_visible()


def test_an_application_is_renamed_and_deleted_by_its_name(visit: Visits, site: Site) -> None:
    number, name = site.owner.application(), unique("Renamed")
    page = visit(f"/applications/{number}", site.owner)
    page.get_by_role("button", name="Rename application").click()
    dialog(page).get_by_label("Name of the application").fill(name)
    dialog(page).get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_role("button", name="Delete application").click()
    yes = dialog(page).get_by_role("button", name="Delete for good")
    dialog(page).get_by_role("textbox").fill(name[:-1])
    expect(yes).to_be_disabled()
    dialog(page).get_by_role("textbox").fill(name)
    accessible(page)
    yes.click()
    expect(page).to_have_url(f"{site.address}/")
    expect(page.get_by_role("status")).to_contain_text(f"{name} is deleted.")
    assert site.owner.client.get(f"{ADMIN}/applications/{number}").status_code == 404


def test_the_dashboard_plots_what_its_tables_say(visit: Visits, site: Site) -> None:
    number = site.owner.service()
    page = visit(f"/services/{number}", site.owner)
    figures = page.locator("figure")
    expect(figures).to_have_count(3)
    expect(figures.locator("svg")).to_have_count(3)
    figures.first.get_by_text("Show as a table").click()
    expect(figures.first.locator("tbody tr")).to_have_count(30)
    accessible(page)
    fits(page)


def test_keys_are_added_replaced_and_deleted(visit: Visits, site: Site) -> None:
    number = site.owner.service("VERIFICATION")
    page = visit(f"/services/{number}", site.owner)
    page.get_by_role("button", name="Add key").click()
    dialog(page).get_by_role("button", name="Add key").click()
    expect(page.locator("#add-key-name-error")).to_have_text("Please fill this in.")
    dialog(page).get_by_label("Name").fill("Tablet")
    dialog(page).get_by_label("Expires").fill("2099-12-31")
    accessible(page)
    dialog(page).get_by_role("button", name="Add key").click()
    key = secret(page)
    expect(row(page, "Tablet")).to_contain_text(key[-4:])
    expect(row(page, "Tablet")).to_contain_text("2099")
    page.get_by_role("button", name="Change key Tablet").click()
    dialog(page).get_by_label("Name").fill("Phone")
    dialog(page).get_by_role("button", name="Save").click()
    expect(row(page, "Phone")).to_contain_text(key[-4:])
    page.get_by_role("button", name="Replace key Phone").click()
    accessible(page)
    dialog(page).get_by_role("button", name="Replace key").click()
    other = secret(page)
    expect(row(page, "Phone")).to_contain_text(other[-4:])
    assert not site.opens("verification", key)
    assert site.opens("verification", other)
    page.get_by_role("button", name="Delete Phone").click()
    dialog(page).get_by_role("button", name="Delete").click()
    expect(row(page, "Phone")).to_have_count(0)
    assert not site.opens("verification", other)


def test_a_threshold_is_set_by_strangers_or_by_similarity(visit: Visits, site: Site) -> None:
    number = site.owner.service()
    page = visit(f"/services/{number}", site.owner)
    page.get_by_label("By similarity").check()
    page.get_by_label("Least similarity").fill("7")
    page.locator("#settings").get_by_role("button", name="Save").click()
    expect(page.locator("#threshold-value-error")).to_be_visible()
    page.get_by_label("Least similarity").fill("0.91")
    page.locator("#settings").get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    assert site.owner.call("GET", f"/services/{number}")["similarity_threshold"] == 0.91
    page.locator("#settings-name").fill("Back door")
    page.get_by_label("Always name the most similar").check()
    page.get_by_label("Keep the photographs").select_option("false")
    page.locator("#settings").get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Back door")).to_be_visible()
    now = site.owner.call("GET", f"/services/{number}")
    assert (now["similarity_threshold"], now["max_fmr"], now["save_images"]) == (None, None, False)


def test_a_service_is_cloned_and_deleted_by_its_name(visit: Visits, site: Site) -> None:
    number = site.owner.service()
    page = visit(f"/services/{number}", site.owner)
    page.get_by_role("button", name="Clone").click()
    accessible(page)
    dialog(page).get_by_role("button", name="Clone").click()
    assert secret(page)
    expect(page.get_by_role("heading", name="Door (copy)")).to_be_visible()
    page.get_by_role("button", name="Delete service").click()
    dialog(page).get_by_role("textbox").fill("Door (copy)")
    dialog(page).get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("status")).to_contain_text("Door (copy) is deleted.")
    expect(row(page, "Door")).to_have_count(1)


def test_users_are_found_promoted_and_deleted(visit: Visits, site: Site) -> None:
    person = site.newcomer("Irma", unique("Moreau")[-8:])
    page = visit("/users", site.owner)
    page.get_by_role("searchbox").fill(person.email)
    expect(page.locator("#results tbody tr")).to_have_count(1)
    page.locator("#results").get_by_role("combobox").select_option("ADMINISTRATOR")
    expect(page.get_by_role("status")).to_contain_text("is changed")
    assert person.call("GET", "/me")["role"] == "ADMINISTRATOR"
    accessible(page)
    page.get_by_role("button", name="Delete Irma").click()
    expect(dialog(page)).to_contain_text("Irma")
    accessible(page)
    dialog(page).get_by_role("button", name="Delete account").click()
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    assert person.client.get(f"{ADMIN}/me").status_code == 401


def test_somebody_is_invited_to_the_server(visit: Visits, site: Site) -> None:
    page = visit("/users", site.owner)
    page.get_by_role("button", name="Invite somebody").click()
    dialog(page).get_by_label("E-mail").fill("not an address")
    dialog(page).get_by_role("button", name="Make the link").click()
    expect(page.locator("#invite-email-error")).to_be_visible()
    email = f"{unique('x')[-8:]}@example.org"
    dialog(page).get_by_label("E-mail").fill(email)
    dialog(page).get_by_role("button", name="Make the link").click()
    assert "/join/" in secret(page)
    page.get_by_role("button", name=f"Withdraw the invitation of {email}").click()
    expect(row(page, email)).to_have_count(0)


@pytest.mark.parametrize("path", ["/users", "/system"])
def test_what_is_for_administrators_is_refused_to_others(
    visit: Visits, site: Site, path: str
) -> None:
    page = visit(path, site.newcomer())
    expect(page.get_by_role("heading", name="Not for your role")).to_be_visible()
    accessible(page)


def test_the_system_shows_models_that_are_ready(visit: Visits, site: Site) -> None:
    page = visit("/system", site.owner)
    expect(page.get_by_text("Ready", exact=True).first).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="embedder").first).to_contain_text("Ready")
    accessible(page)


def test_a_profile_changes_its_name_and_its_password(visit: Visits, site: Site) -> None:
    person = site.newcomer()
    page = visit("/profile", person)
    page.get_by_label("First name").fill("Maya")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Account of Maya Tanaka")).to_be_visible()
    page.get_by_label("Present password").fill("wrong password")
    page.get_by_label("New password").fill("another long password")
    page.get_by_label("The same password again").fill("another long password")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("region", name="Password").get_by_role("alert")).not_to_be_empty()
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("status")).to_contain_text("The password is changed.")
    accessible(page)


def test_a_token_acts_as_its_maker_until_it_is_deleted(visit: Visits, site: Site) -> None:
    person = site.newcomer()
    page = visit("/profile", person)
    page.get_by_role("button", name="Add token").click()
    dialog(page).get_by_label("Name").fill("Nightly")
    accessible(page)
    dialog(page).get_by_role("button", name="Add token").click()
    bearer = {"authorization": f"Bearer {secret(page)}"}
    address = f"{site.address}{ADMIN}/me"
    assert httpx.get(address, headers=bearer).json()["email"] == person.email
    page.get_by_role("button", name="Delete Nightly").click()
    dialog(page).get_by_role("button", name="Delete").click()
    expect(row(page, "Nightly")).to_have_count(0)
    assert httpx.get(address, headers=bearer).status_code == 401


def test_another_session_is_ended(visit: Visits, site: Site) -> None:
    person = site.newcomer()
    with httpx.Client(base_url=site.address, headers={"user-agent": "A lost phone"}) as other:
        other.post(f"{ADMIN}/session", json={"email": person.email, "password": PASSWORD})
        assert other.get(f"{ADMIN}/me").status_code == 200
        page = visit("/profile", person)
        row(page, "A lost phone").get_by_role("button", name="Sign out").click()
        expect(row(page, "A lost phone")).to_have_count(0)
        assert other.get(f"{ADMIN}/me").status_code == 401


def test_every_screen_fits_a_phone_and_is_accessible_in_the_dark(visit: Visits, site: Site) -> None:
    application = site.owner.application(unique("Phone"))
    service = site.owner.service(application=application)
    page = visit("/", site.owner, size=PHONE, theme="dark", language="de")
    screens = ["/", f"/applications/{application}", f"/services/{service}"]
    for path in [*screens, "/users", "/system", "/profile", "/welcome/application"]:
        page.goto(path)
        fits(page)
        accessible(page)
