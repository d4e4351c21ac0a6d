"""Applications and their members at the admin API."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.admin.callers import Browser, new_user, owner, signed_in
from api.calls import failed
from knownface.app import App
from knownface.people import Role, User
from knownface.types import ServiceType


@dataclass
class Crew:
    """An application called as the test, whose owner, administrator and user are signed in."""

    id: int
    name: str
    users: dict[Role, User]
    browsers: dict[Role, Browser]


@pytest.fixture
def root(app: App, server: FastAPI, client: TestClient) -> Browser:
    """The owner of the server, which runs."""
    assert client.app is server
    return signed_in(app, server, owner(app))


@pytest.fixture
def crew(app: App, server: FastAPI, root: Browser, request: pytest.FixtureRequest) -> Crew:
    name = request.node.name[:50]
    made = root("POST", "/applications", json={"name": name}).json()
    users = {role: new_user(app, name=role.value) for role in Role}
    for role in (Role.ADMINISTRATOR, Role.USER, Role.OWNER):
        answer = root(
            "POST",
            f"/applications/{made['id']}/members",
            json={"email": users[role].email, "role": role.name},
        )
        assert answer.status_code == 201, answer.text
    browsers = {role: signed_in(app, server, user) for role, user in users.items()}
    return Crew(made["id"], name, users, browsers)


def test_who_creates_an_application_owns_it(root: Browser) -> None:
    made = root("POST", "/applications", json={"name": "  Home  "})
    assert made.status_code == 201
    document = made.json()
    assert (document["name"], document["role"], document["services"]) == ("Home", "OWNER", 0)
    assert root.user is not None
    assert document["owner"]["id"] == root.user.id
    assert document["members"] == 1
    assert root("GET", f"/applications/{document['id']}").json() == document
    assert failed(root("POST", "/applications", json={"name": "HOME"})) == (400, 17)
    renamed = root("PUT", f"/applications/{document['id']}", json={"name": "House"})
    assert renamed.json()["name"] == "House"


@pytest.mark.parametrize(
    ("name", "code"), [("", 26), ("x" * 51, 26), ("a\nb", 26), ("a/b", 36), ("a;b", 36), ("\\", 36)]
)
def test_names_are_comprefaces(root: Browser, name: str, code: int) -> None:
    assert failed(root("POST", "/applications", json={"name": name})) == (400, code)
    assert failed(root("POST", "/applications", json={})) == (400, 33)


def test_an_application_with_an_older_name_can_be_used_and_renamed(app: App, root: Browser) -> None:
    long = "An old one / " + "x" * 100
    app.accounts.create_service(long, "door", ServiceType.DETECTION)
    found = root("GET", "/applications", params={"search": "an OLD one"}).json()
    (old,) = found["applications"]
    path = f"/applications/{old['id']}"
    assert root("PUT", path, json={"name": long}).json()["name"] == long
    assert root("PUT", path, json={"name": "short"}).json()["name"] == "short"
    assert root("DELETE", path, json={"name": "short"}).status_code == 204


def test_lists_are_searched_and_come_in_pages(root: Browser) -> None:
    for number in range(5):
        root("POST", "/applications", json={"name": f"Paged {number}"})
    asked = {"search": "pAGED", "page": 1, "size": 2}
    page = root("GET", "/applications", params=asked).json()
    assert [one["name"] for one in page["applications"]] == ["Paged 2", "Paged 3"]
    assert (page["page"], page["size"], page["total"]) == (1, 2, 5)


def test_members_see_their_application_and_no_other(app: App, server: FastAPI, crew: Crew) -> None:
    stranger = signed_in(app, server, new_user(app))
    for role, browser in crew.browsers.items():
        (found,) = browser("GET", "/applications").json()["applications"]
        assert (found["id"], found["role"], found["members"]) == (crew.id, role.name, 4)
        assert found["owner"]["id"] == crew.users[Role.OWNER].id
    assert stranger("GET", "/applications").json()["total"] == 0
    path = f"/applications/{crew.id}"
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", {"name": crew.name})):
        assert failed(stranger(method, path, json=body)) == (404, 2)
    assert failed(stranger("GET", f"{path}/members")) == (404, 2)


def test_the_owner_hands_over_before_he_leaves(crew: Crew) -> None:
    own, path = crew.browsers[Role.OWNER], f"/applications/{crew.id}/members"
    me, other = crew.users[Role.OWNER].id, crew.users[Role.USER].id
    assert failed(own("DELETE", f"{path}/{me}")) == (400, 9)
    assert failed(own("PUT", f"{path}/{me}", json={"role": "USER"})) == (400, 9)
    assert own("PUT", f"{path}/{me}", json={"role": "OWNER"}).json()["role"] == "OWNER"
    assert own("PUT", f"{path}/{other}", json={"role": "OWNER"}).json()["role"] == "OWNER"
    roles = {one["id"]: one["role"] for one in own("GET", path).json()["members"]}
    assert (roles[me], roles[other]) == ("ADMINISTRATOR", "OWNER")
    assert failed(own("DELETE", f"{path}/{me}")) == (403, 1)
    assert crew.browsers[Role.USER]("DELETE", f"{path}/{me}").status_code == 204
    assert own("GET", "/applications").json()["total"] == 0


def test_members_are_searched_by_name_and_address(crew: Crew) -> None:
    own, path = crew.browsers[Role.OWNER], f"/applications/{crew.id}/members"
    user = crew.users[Role.USER]
    found = own("GET", path, params={"search": user.email.upper()}).json()
    assert [one["id"] for one in found["members"]] == [user.id]
    assert found["members"][0]["role"] == "USER"


def test_whoever_has_no_account_is_invited(root: Browser, crew: Crew) -> None:
    path = f"/applications/{crew.id}/members"
    sent = root("POST", path, json={"email": "new@example.org", "role": "USER"})
    assert sent.status_code == 201
    invitation = sent.json()["invitation"]
    assert (invitation["email"], invitation["application_id"]) == ("new@example.org", crew.id)
    assert "/join/" in invitation["link"]
    again = root("POST", path, json={"email": crew.users[Role.USER].email, "role": "USER"})
    assert failed(again) == (400, 19)
    assert failed(root("POST", path, json={"email": "no address"})) == (400, 22)
    assert failed(root("POST", path, json={"email": "n@example.org", "role": "OWNER"})) == (400, 9)
    assert failed(root("POST", path, json={"email": "n@example.org", "role": "KING"})) == (400, 26)
    assert failed(root("PUT", f"{path}/{2**53}", json={"role": "USER"})) == (404, 16)
    assert failed(root("DELETE", f"{path}/{2**53}")) == (404, 16)


def test_an_application_goes_with_all_below_it_once_its_name_is_given(
    app: App, root: Browser, crew: Crew
) -> None:
    service, _ = app.accounts.create_service(crew.name, "door", ServiceType.RECOGNITION)
    path = f"/applications/{crew.id}"
    assert failed(root("DELETE", path, json={"name": crew.name.upper()})) == (400, 26)
    assert failed(root("DELETE", path, json={})) == (400, 33)
    assert root("GET", path).json()["services"] == 1
    assert root("DELETE", path, json={"name": crew.name}).status_code == 204
    assert failed(root("GET", path)) == (404, 2)
    with app.store.snapshot() as tx:
        assert tx.service(service.id) is None
        assert tx.memberships(crew.users[Role.USER].id) == {}
