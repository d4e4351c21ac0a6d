"""The ways in: the first minutes, signing in and up, and a forgotten password."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import ADMIN, PASSWORD, Site, Visits, accessible
from servers import running_server, tiny_settings

pytestmark = pytest.mark.browser


def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"main [name={name}]:visible").fill(value)


def test_the_first_visitor_is_led_from_the_owners_account_to_a_working_key(
    browser: Browser, tmp_path: Path
) -> None:
    with running_server(tmp_path, tiny_settings(tmp_path)) as server:
        context = browser.new_context(base_url=server.address, locale="en-GB")
        page = context.new_page()
        page.goto("/")
        expect(page).to_have_url(f"{server.address}/welcome")
        accessible(page)
        fill(page, first_name="Vera", last_name="Okafor", email="vera@example.org")
        fill(page, password=PASSWORD, again="something else")
        page.get_by_role("button", name="Create account").click()
        expect(page.locator("#again-error")).to_have_text("The two do not match.")
        fill(page, again=PASSWORD)
        page.get_by_role("button", name="Create account").click()
        expect(page).to_have_url(f"{server.address}/welcome/application")
        fill(page, name="a;b")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("alert")).not_to_be_empty()
        fill(page, name="Front door")
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("radio", name="Detection").check()
        expect(page.get_by_label("Name")).to_have_value("Detection")
        accessible(page)
        page.get_by_role("button", name="Continue").click()
        key = page.locator("#first-key-value")
        expect(key).to_be_visible()
        accessible(page)
        shown = key.inner_text()
        headers = {"x-api-key": shown}
        answer = httpx.post(f"{server.address}/api/v1/detection/detect", headers=headers)
        assert answer.status_code == 415, "the key is known, and the picture what is missing"
        dashboard = page.locator("#first-dashboard").get_attribute("href")
        link = page.get_by_role("link", name="Try it")
        expect(link).to_have_attribute("href", f"{dashboard}/try")
        context.close()


def test_a_wrong_password_is_told_and_the_right_one_leads_where_one_wanted_to_go(
    visit: Visits, site: Site
) -> None:
    page = visit("/system")
    expect(page).to_have_url(f"{site.address}/login?next=/system")
    accessible(page)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#email-error")).to_be_visible()
    fill(page, email=site.owner.email, password="wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).not_to_be_empty()
    fill(page, password=PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{site.address}/system")
    page.get_by_label("Account of Vera Okafor").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{site.address}/login")
    page.goto("/system")
    expect(page).to_have_url(f"{site.address}/login?next=/system")


def test_a_refusal_speaks_the_language_of_the_page(visit: Visits, site: Site) -> None:
    page = visit("/login", language="de")
    fill(page, email=site.owner.email, password="wrong password")
    page.get_by_role("button", name="Anmelden", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("E-Mail-Adresse oder Passwort stimmen nicht.")
    page = visit("/profile", site.owner, language="de")
    fill(page, old_password="wrong password", new_password=PASSWORD, again=PASSWORD)
    page.get_by_role("button", name="Passwort ändern").click()
    refused = page.get_by_text("Das bisherige Passwort stimmt nicht.")
    expect(refused).to_be_visible()


def test_an_invitation_makes_one_account_and_no_second(visit: Visits, site: Site) -> None:
    link = site.owner.call("POST", "/invitations", role="USER")["link"]
    path = link.removeprefix(site.address)
    page = visit(path)
    accessible(page)
    fill(page, first_name="Ada", last_name="Nwosu", email="ada@example.org")
    fill(page, password=PASSWORD, again=PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page).to_have_url(f"{site.address}/")
    expect(page.get_by_text("Nothing is shared with you yet")).to_be_visible()
    again = visit(path)
    expect(again.get_by_role("heading", name="By invitation only")).to_be_visible()
    accessible(again)


def test_nobody_signs_up_where_that_is_closed(visit: Visits) -> None:
    page = visit("/signup")
    expect(page.get_by_role("heading", name="By invitation only")).to_be_visible()


def test_a_password_link_sets_a_new_password(visit: Visits, site: Site) -> None:
    person = site.newcomer()
    page = visit("/forgot")
    expect(page.get_by_text("knownface user reset-password")).to_be_visible()
    accessible(page)
    number = person.call("GET", "/me")["id"]
    link = site.owner.call("POST", f"/users/{number}/password-reset")["link"]
    page = visit(link.removeprefix(site.address))
    fill(page, password="short", again="short")
    page.get_by_role("button", name="Set the password").click()
    expect(page.locator("#password-error")).to_have_text("Please use at least 8 characters.")
    accessible(page)
    fill(page, password="a whole new password", again="a whole new password")
    page.get_by_role("button", name="Set the password").click()
    expect(page).to_have_url(f"{site.address}/login")
    expect(page.get_by_role("status")).to_contain_text("Sign in with it")
    body = {"email": person.email, "password": "a whole new password"}
    assert httpx.post(f"{site.address}{ADMIN}/session", json=body).status_code == 200


def test_language_and_theme_are_kept(visit: Visits, site: Site) -> None:
    page = visit("/", site.owner)
    page.get_by_label("Language").select_option("de")
    expect(page.get_by_role("heading", name="Anwendungen", level=1)).to_be_visible()
    page.get_by_role("button", name="Zwischen hell und dunkel wechseln").click()
    page.goto("/profile")
    expect(page.get_by_role("heading", name="Ihr Profil")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("document.documentElement.lang") == "de"
    accessible(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_documentation_of_the_api_is_readable(visit: Visits, theme: str) -> None:
    page = visit("/docs", theme=theme)
    page.locator("details.operation").first.wait_for()
    accessible(page)


def test_a_page_that_is_not_there_says_so(visit: Visits, site: Site) -> None:
    page = visit("/services/999999", site.owner)
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    accessible(page)
    page.get_by_role("link", name="To the applications").click()
    expect(page).to_have_url(f"{site.address}/")


def test_the_keyboard_alone_is_enough_to_sign_in(visit: Visits, site: Site) -> None:
    page = visit("/login")
    page.keyboard.press("Tab")
    page.goto("/login")
    expect(page.get_by_label("E-mail")).to_be_focused()
    page.keyboard.type(site.owner.email)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.address}/")


def test_without_a_session_a_change_leads_to_the_sign_in(visit: Visits, site: Site) -> None:
    person = site.newcomer()
    page = visit("/profile", person)
    person.call("DELETE", "/session")
    fill(page, first_name="Maya")
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(f"{site.address}/login?next=%2Fprofile")
