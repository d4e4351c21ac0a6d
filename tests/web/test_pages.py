"""Pages as a browser gets them: who is led where, what is shown to whom, under which headers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from knownface.web.assets import Assets
from knownface.web.visits import safe_next

ADMIN = "/admin/api"


def made(owner: TestClient, path: str, **body: object) -> dict[str, object]:
    answer = owner.post(f"{ADMIN}{path}", json=body)
    assert answer.is_success, answer.text
    document: dict[str, object] = answer.json()
    return document


@pytest.fixture(scope="module")
def application(owner: TestClient) -> int:
    return int(str(made(owner, "/applications", name="<b>Door<b> & gate")["id"]))


@pytest.fixture(scope="module")
def service(owner: TestClient, application: int) -> int:
    answer = owner.post(
        f"{ADMIN}/applications/{application}/services",
        json={"name": "Faces", "type": "RECOGNITION"},
    )
    return int(answer.json()["service"]["id"])


# This one comes first: nobody owns the server yet.
@pytest.mark.parametrize("path", ["/", "/login", "/signup", "/system"])
def test_the_first_visitor_is_led_to_the_welcome(visitor: TestClient, path: str) -> None:
    visitor.follow_redirects = True
    answer = visitor.get(path)
    assert answer.url.path == "/welcome"
    assert 'data-call="POST /admin/api/users"' in answer.text


def test_who_is_not_signed_in_is_asked_to_and_led_back(
    owner: TestClient, visitor: TestClient
) -> None:
    answer = visitor.get("/users?search=a&page=2")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/users%3Fsearch%3Da%26page%3D2"
    page = visitor.get(answer.headers["location"])
    assert 'data-go="/users?search=a&amp;page=2"' in page.text
    assert visitor.get("/welcome").headers["location"] == "/login"
    assert owner.get("/welcome").headers["location"] == "/welcome/application"
    assert owner.get("/login?next=/system").headers["location"] == "/system"


@pytest.mark.parametrize(
    "address",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "", None],
)
def test_no_sign_in_leads_to_another_site(address: str | None) -> None:
    assert safe_next(address) == "/"


def test_every_page_allows_only_what_comes_from_here(owner: TestClient) -> None:
    headers = owner.get("/").headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.fixture
def screens(owner: TestClient, application: int, service: int) -> dict[str, Response]:
    paths = ["/", f"/applications/{application}", f"/services/{service}", "/users", "/system"]
    paths += ["/profile", "/welcome/application", f"/welcome/service?application={application}"]
    return {path: owner.get(path) for path in paths}


def test_every_screen_is_served_without_a_script_or_a_style_of_its_own(
    screens: dict[str, Response],
) -> None:
    for path, answer in screens.items():
        assert answer.status_code == 200, path
        inline = re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*(?:src=|json))", answer.text)
        assert inline == [], path
        assert "http://" not in answer.text.replace("http://www.w3.org/", ""), path


def test_what_people_write_is_text_and_never_markup(screens: dict[str, Response]) -> None:
    page = screens["/"].text
    assert "&lt;b&gt;Door&lt;b&gt; &amp; gate" in page
    assert "<b>Door" not in page


def test_static_files_are_kept_for_good_under_the_name_of_their_content(
    visitor: TestClient,
) -> None:
    assets = Assets.load()
    address = assets.address("js/main.js")
    answer = visitor.get(address)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")
    older = visitor.get("/static/0123456789ab/js/main.js")
    assert (older.content, older.headers["cache-control"]) == (answer.content, "no-cache")
    assert visitor.get("/static/0123456789ab/js/none.js").status_code == 404
    assert visitor.get("/static/0123456789ab/..%2F..%2Fsite.py").status_code == 404
    assert visitor.get("/favicon.ico").headers["location"] == assets.address("logo.svg")


def test_a_member_is_offered_only_what_he_may_do(
    member: TestClient, owner: TestClient, application: int, service: int
) -> None:
    assert member.get(f"/applications/{application}").status_code == 404
    assert member.get(f"/services/{service}").status_code == 404
    assert member.get("/users").status_code == 403
    assert member.get("/system").status_code == 403
    assert "/system" not in member.get("/").text
    made(owner, f"/applications/{application}/members", email="member@example.org", role="USER")
    page = member.get(f"/applications/{application}").text
    assert "Faces" in page
    assert 'id="create"' not in page
    shown = member.get(f"/services/{service}").text
    assert 'id="settings"' not in shown
    assert 'id="add-key"' not in shown
    assert 'id="create"' in owner.get(f"/applications/{application}").text


def test_a_link_of_an_invitation_is_for_one_account(
    owner: TestClient, new_visitor: Callable[[], TestClient], application: int
) -> None:
    link = str(made(owner, "/invitations", role="USER", application_id=application)["link"])
    path = "/join/" + link.rpartition("/")[2]
    assert 'name="invitation"' in new_visitor().get(path).text
    assert f'data-call="POST {ADMIN}{path}"' in owner.get(path).text
    gone = new_visitor().get("/join/nonsense")
    assert gone.status_code == 404
    assert 'data-call="POST' not in gone.text


@pytest.mark.parametrize("path", ["/applications/0", "/services/x", "/services/99999999999999999"])
def test_an_address_that_leads_nowhere_is_a_page_too(owner: TestClient, path: str) -> None:
    answer = owner.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_a_failure_that_nobody_foresaw_is_a_page_that_tells_no_more_than_an_id(
    owner: TestClient, app: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of the house")

    monkeypatch.setattr(app, "administration", type("Broken", (), {"applications": broken})())
    answer = owner.get("/")
    assert answer.status_code == 500
    assert "a secret of the house" not in answer.text
    assert answer.headers["x-request-id"] in answer.text


def test_the_visitors_language_and_theme_are_in_the_page(visitor: TestClient) -> None:
    page = visitor.get("/forgot", headers={"accept-language": "de-CH,de;q=0.9"}).text
    assert '<html lang="de">' in page
    visitor.cookies.set("knownface_theme", "dark")
    visitor.cookies.set("knownface_language", "en")
    assert '<html lang="en" data-theme="dark">' in visitor.get("/forgot").text
    visitor.cookies.set("knownface_theme", '"><script>')
    assert "data-theme" not in visitor.get("/forgot").text


def test_pages_are_no_part_of_the_described_api(visitor: TestClient) -> None:
    described = visitor.get("/openapi.json").json()["paths"]
    assert {"/", "/login", "/users", "/static/{version}/{path}"} & described.keys() == set()


@pytest.mark.parametrize("reason", ["provider", "link", "account", "closed"])
def test_why_a_provider_let_nobody_in_is_told(visitor: TestClient, reason: str) -> None:
    assert "notice bad" in visitor.get(f"/login?failed={reason}").text
    assert "notice bad" not in visitor.get("/login?failed=nonsense").text


@pytest.mark.parametrize("address", ["http://[", "//[x"])
def test_an_address_to_go_on_to_that_is_none_leads_to_the_first_page(
    owner: TestClient, visitor: TestClient, address: str
) -> None:
    assert safe_next(address) == "/"
    assert visitor.get("/login", params={"next": address}).status_code == 200
    assert owner.get("/login", params={"next": address}).headers["location"] == "/"


@pytest.mark.parametrize("path", ["/?page=", "/users?page=", "/welcome/service?application="])
def test_a_number_of_thousands_of_digits_is_no_failure(owner: TestClient, path: str) -> None:
    assert owner.get(path + "9" * 5000).status_code < 500
    assert owner.get(path + "0" * 5000).status_code < 500


@pytest.mark.parametrize(("language", "shown"), [("en", True), ("de", False)])
def test_a_page_that_is_not_there_says_so_in_one_language(
    owner: TestClient, language: str, shown: bool
) -> None:
    page = owner.get("/applications/999999", headers={"accept-language": language})
    assert page.status_code == 404
    assert ("not found" in page.text or "There is no" in page.text) is shown
