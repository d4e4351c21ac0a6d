"""People in the store and at the command line: on both databases, and without any HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from knownface.accounts import Accounts
from knownface.app import build
from knownface.cli import main
from knownface.errors import (
    ConfigurationError,
    EmailTaken,
    Forbidden,
    LinkExpired,
    NotPossible,
    ServiceNotFound,
    UserNotFound,
    WrongCredentials,
)
from knownface.identity import Desk, Place, SignUp
from knownface.people import Actor, Right, Role, User, rights
from knownface.provisioning import Provision, provide
from knownface.settings import Settings
from knownface.signing import Signer, signing_secret
from knownface.store import Store
from knownface.store.people import Newcomer
from knownface.types import ServiceType

PASSWORD = "correct horse battery"
HERE = Place("192.0.2.1", "a test")
KEY = "0f9d3a52-6c1b-4e7a-9d44-2b8e5f70c316"


@pytest.fixture
def desk(store: Store) -> Iterator[Desk]:
    desk = Desk(store, registration="invited", public_url="", smtp_url="", mail_from="")
    yield desk
    desk.close()


def add(store: Store, name: str, role: Role = Role.USER) -> User:
    with store.begin() as tx:
        made = tx.add_user(Newcomer(f"{name}@example.org", name.capitalize(), "Doe", role))
    assert made
    return made


def found(desk: Desk, user: User | None, search: str = "") -> list[str]:
    actor = Actor(user) if user else None
    return [one.first_name for one in desk.users.list(actor, search, 0, 50).users]


def test_an_administrator_of_an_application_may_what_the_table_says() -> None:
    here = rights(Role.USER, Role.ADMINISTRATOR)
    assert here == {Right.SEE, Right.USE_SERVICES, Right.MANAGE_SERVICES}
    assert rights(Role.USER, Role.OWNER) - here == {Right.MANAGE_APPLICATION}
    assert rights(Role.USER) == frozenset()
    assert rights(Role.ADMINISTRATOR) == rights(Role.OWNER, Role.USER) == set(Right)


def test_a_user_sees_only_whom_he_shares_an_application_with(store: Store, desk: Desk) -> None:
    ada, bob, eve = add(store, "ada"), add(store, "bob"), add(store, "eve")
    boss = add(store, "boss", Role.OWNER)
    with store.begin() as tx:
        home = tx.create_application("home")
        for user, role in ((ada, Role.OWNER), (bob, Role.USER)):
            tx.set_membership(home.id, user.id, role)
    assert found(desk, ada) == found(desk, bob) == ["Ada", "Bob"]
    assert found(desk, eve) == ["Eve"]
    assert found(desk, boss) == found(desk, None) == ["Ada", "Bob", "Boss", "Eve"]
    assert found(desk, boss, "B doe") == ["Bob", "Boss"]
    assert found(desk, boss, "100%_") == []
    with pytest.raises(UserNotFound):
        desk.users.profile(Actor(eve), ada.id)


def test_whoever_makes_another_the_owner_is_an_administrator(store: Store, desk: Desk) -> None:
    boss, ada = add(store, "boss", Role.OWNER), add(store, "ada")
    with pytest.raises(NotPossible):
        desk.users.set_role(Actor(boss), boss.id, Role.USER)
    assert desk.users.set_role(Actor(boss), ada.id, Role.OWNER).role is Role.OWNER
    assert desk.users.by_email("Boss@example.org").role is Role.ADMINISTRATOR
    with pytest.raises(Forbidden):  # by what he was when he asked
        desk.users.set_role(Actor(boss), boss.id, Role.OWNER)


def test_an_owners_applications_pass_on_when_he_is_deleted(store: Store, desk: Desk) -> None:
    boss = add(store, "boss", Role.OWNER)
    administrator = add(store, "adam", Role.ADMINISTRATOR)
    names = ("to the deleter", "to the owner", "by himself")
    for name, actor, to_owner, heir in (
        (names[0], administrator, False, administrator),
        (names[1], administrator, True, boss),
        (names[2], None, False, boss),
    ):
        leaving = add(store, "leaving")
        with store.begin() as tx:
            application = tx.create_application(name)
            tx.set_membership(application.id, leaving.id, Role.OWNER)
            tx.set_membership(application.id, administrator.id, Role.USER)
        assert desk.users.profile(Actor(boss), leaving.id).owns == (name,)
        desk.users.delete(Actor(actor or leaving), leaving.id, to_owner=to_owner)
        with store.snapshot() as tx:
            assert tx.membership(application.id, heir.id) is Role.OWNER
            assert tx.user_by_email("leaving@example.org") is None
    with pytest.raises(NotPossible):
        desk.users.delete(Actor(boss), boss.id, to_owner=True)


def test_of_many_who_sign_up_at_once_one_owns_the_server(store: Store, desk: Desk) -> None:
    def sign_up(number: int) -> str:
        try:
            asked = SignUp(f"user{number}@example.org", "Jo", "Doe", PASSWORD)
            return desk.identity.sign_up(asked, HERE).user.role.value
        except Forbidden:
            return "refused"

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(sign_up, range(4))) == ["owner", *["refused"] * 3]
    with store.snapshot() as tx:
        assert tx.users("", 0, 10).total == 1


def test_a_deleted_users_address_is_nowhere_in_the_file(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'faces.db'}")
    desk = Desk(store, registration="invited", public_url="", smtp_url="", mail_from="")
    leaving = add(store, "somebody-with-a-name-of-his-own")

    def stored() -> bool:
        return any(b"name-of-his-own" in path.read_bytes() for path in tmp_path.iterdir())

    assert stored()
    desk.users.delete(None, leaving.id, to_owner=True)
    assert not stored()
    store.close()


# Signed values


def test_all_processes_of_a_database_share_its_secret(store: Store) -> None:
    assert signing_secret(store) == signing_secret(store)
    assert len(signing_secret(store)) == 32


def test_a_signed_value_ends_and_serves_one_end_alone() -> None:
    now = [1_000_000.0]
    signer = Signer(b"secret", lambda: now[0])
    token = signer.sign("picture", {"id": 7}, 900)
    assert signer.read("picture", token) == {"id": 7}
    assert signer.read("another", token) is None
    assert signer.read("picture", token[:-1]) is None
    assert Signer(b"other", lambda: now[0]).read("picture", token) is None
    now[0] += 90
    assert signer.sign("picture", {"id": 7}, 900) == token, "a browser finds it in its cache"
    now[0] += 810
    assert signer.read("picture", token) is None


# The first start


@pytest.fixture
def accounts(store: Store) -> Accounts:
    return Accounts(store)


def test_the_first_start_makes_what_is_wanted_and_later_ones_leave_it(
    store: Store, desk: Desk, accounts: Accounts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wanted = Provision("home", "Jane@example.org", PASSWORD, {ServiceType.RECOGNITION: KEY})
    provide(store, desk.users, wanted)
    assert desk.identity.sign_in("jane@example.org", PASSWORD, HERE).user.role is Role.OWNER
    service = accounts.authorize(KEY, ServiceType.RECOGNITION)
    assert (service.application, service.name) == ("home", "recognition")
    with store.snapshot() as tx:
        home, owner = tx.application("home"), tx.owner()
        assert home
        assert owner
        assert tx.membership(home.id, owner.id) is Role.OWNER
    rotated = accounts.rotate_key("home", "recognition")
    changed = Provision("home", "eve@example.org", "another password", wanted.keys)
    provide(store, desk.users, changed)
    assert [one.name for one in accounts.services()] == ["recognition"]
    assert accounts.authorize(rotated, ServiceType.RECOGNITION) == service
    with pytest.raises(WrongCredentials):
        desk.identity.sign_in("eve@example.org", "another password", HERE)
    assert accounts.bootstrap() == [], "nothing is made besides"
    logged = "\n".join(str(vars(record)) for record in caplog.records) + repr(wanted)
    assert KEY not in logged
    assert PASSWORD not in logged


@pytest.mark.parametrize("renamed", ["application", "service"])
def test_what_was_provided_and_revoked_is_not_brought_back_by_the_next_start(
    store: Store, desk: Desk, accounts: Accounts, renamed: str
) -> None:
    kept = "6b135f5b-a365-4522-b1f1-4c9ac2dd0728"
    kinds = {ServiceType.RECOGNITION: KEY, ServiceType.DETECTION: kept}
    wanted = Provision("home", "jane@example.org", PASSWORD, kinds)
    provide(store, desk.users, wanted)
    service = accounts.authorize(KEY, ServiceType.RECOGNITION)
    accounts.rotate_key("home", "recognition")
    with store.begin() as tx:
        home = tx.application("home")
        assert home
        if renamed == "application":
            tx.rename_application(home.id, "house")
        else:
            tx.rename_service(service.id, "door")
    provide(store, desk.users, wanted)
    assert len(accounts.services()) == 2
    with pytest.raises(ServiceNotFound):
        accounts.authorize(KEY, ServiceType.RECOGNITION)
    accounts.delete_service("house" if renamed == "application" else "home", "detection")
    provide(store, desk.users, wanted)
    with pytest.raises(ServiceNotFound):
        accounts.authorize(kept, ServiceType.DETECTION)
    with store.snapshot() as tx:
        assert len(tx.applications()) == 1


def test_a_key_that_is_given_later_goes_to_the_application_whatever_its_name_is_now(
    store: Store, desk: Desk, accounts: Accounts
) -> None:
    provide(store, desk.users, Provision("home", "jane@example.org", PASSWORD))
    with store.begin() as tx:
        home = tx.application("home")
        assert home
        tx.rename_application(home.id, "house")
    later = Provision("home", keys={ServiceType.RECOGNITION: KEY})
    provide(store, desk.users, later)
    assert accounts.authorize(KEY, ServiceType.RECOGNITION).application == "house"


def test_where_nothing_is_wanted_nothing_is_made(store: Store, desk: Desk) -> None:
    provide(store, desk.users, Provision("default"))
    with store.snapshot() as tx:
        assert tx.applications() == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"smtp_url": "smtp://host"}, "KNOWNFACE_PUBLIC_URL and KNOWNFACE_MAIL_FROM"),
        ({"oidc_issuer": "https://id.example"}, "KNOWNFACE_OIDC_CLIENT_ID"),
        ({"bootstrap_owner_email": "a@b.org"}, "KNOWNFACE_BOOTSTRAP_OWNER_PASSWORD"),
        (
            {"bootstrap_owner_email": "a@b.org", "bootstrap_owner_password": "short"},
            "8 to 255 characters",
        ),
        ({"bootstrap_recognition_key": "secret-key"}, "KNOWNFACE_BOOTSTRAP_RECOGNITION_KEY"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_together_stop_the_start_and_stay_secret(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        build(Settings(data=tmp_path, **changes))
    assert named in refused.value.message
    assert "secret-key" not in refused.value.message
    assert "short" not in refused.value.message


# The command line


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run `knownface user … --json` and return what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KNOWNFACE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("KNOWNFACE_PUBLIC_URL", "https://faces.example/")

    def invoke(*words: str, fails: int = 0, **more: Any) -> Any:
        result = CliRunner().invoke(main, ["user", *words, "--json"], **more)
        assert result.exit_code == fails, result.output
        return json.loads(result.stdout) if not fails else result.stderr

    return invoke


def command_desk(tmp_path: Path) -> Desk:
    store = Store.open(f"sqlite:///{tmp_path / 'data' / 'knownface.db'}")
    return Desk(store, registration="invited", public_url="", smtp_url="", mail_from="")


def test_the_command_makes_lists_changes_and_deletes_users(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    made = run("create", "--email", "Jane@example.org", "--role", "owner")
    assert (made["email"], made["role"]) == ("jane@example.org", "OWNER")
    assert made["link"].startswith("https://faces.example/reset/")
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    flags = ("--first-name", "John", "--last-name", "Roe", "--password-file", str(password))
    assert run("create", "--email", "john@example.org", *flags)["link"] is None
    assert [one["email"] for one in run("list")] == ["jane@example.org", "john@example.org"]
    assert [one["email"] for one in run("list", "--search", "roe")] == ["john@example.org"]
    run("set-role", "--email", "john@example.org", "--role", "owner")
    assert [one["role"] for one in run("list")] == ["ADMINISTRATOR", "OWNER"]
    assert "owner cannot be deleted" in run(
        "delete", "--email", "john@example.org", "--yes", fails=1
    )
    assert run("delete", "--email", "jane@example.org", "--yes")["email"] == "jane@example.org"
    assert "There is no user" in run("reset-password", "--email", "jane@example.org", fails=1)
    desk = command_desk(tmp_path)
    assert desk.identity.sign_in("john@example.org", PASSWORD, HERE).user.last_name == "Roe"
    desk.store.close()


def test_links_and_tokens_of_the_command_open_the_server(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    run("create", "--email", "jane@example.org", "--role", "owner")
    link = run("reset-password", "--email", "jane@example.org")["link"]
    token = run("create-token", "--email", "jane@example.org", "--name", "backup", "--days", "1")
    invited = run("invite", "--role", "administrator")["link"]
    desk = command_desk(tmp_path)
    desk.identity.reset(link.rpartition("/")[2], PASSWORD, HERE)
    assert desk.identity.sign_in("jane@example.org", PASSWORD, HERE).user.role is Role.OWNER
    acting = desk.tokens.actor(token["token"])
    assert acting
    assert acting.user.email == "jane@example.org"
    assert desk.tokens.actor(token["token"] + "x") is None
    asked = SignUp("jo@example.org", "Jo", "Doe", PASSWORD, invited.rpartition("/")[2])
    assert desk.identity.sign_up(asked, HERE).user.role is Role.ADMINISTRATOR
    desk.store.close()
    assert "Application nowhere not found" in run("invite", "--application", "nowhere", fails=1)


def test_the_command_speaks_to_people_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KNOWNFACE_DATA", str(tmp_path / "data"))

    def said(*words: str, answer: str | None = None, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["user", *words], input=answer)
        assert result.exit_code == code, result.output
        return result.stdout

    jane = ("--email", "jane@example.org")
    assert "the first one to sign up owns the server" in said("list")
    assert "To choose a password within a day: http://localhost:8000/reset/" in said(
        "create", *jane
    )
    assert "jane@example.org" in said("list")
    assert said("set-role", *jane, "--role", "owner") == "jane@example.org is owner now.\n"
    assert said("reset-password", *jane).startswith("http://localhost:8000/reset/")
    assert said("invite").startswith("http://localhost:8000/join/")
    assert said("create-token", *jane, "--name", "backup").startswith("kft_")
    said("create", "--email", "john@example.org")
    assert "john" in said("delete", "--email", "john@example.org", answer="n\n", code=1)
    assert "Deleted john" in said("delete", "--email", "john@example.org", answer="y\n")


def test_an_account_is_neither_made_twice_nor_a_second_owner(store: Store, desk: Desk) -> None:
    desk.users.create("jane@example.org", "Jane", "Doe", None, Role.OWNER)
    with pytest.raises(EmailTaken):
        desk.users.create("Jane@example.org", "Jane", "Doe", None, Role.USER)
    with pytest.raises(NotPossible, match="has an owner already"):
        desk.users.create("john@example.org", "John", "Doe", None, Role.OWNER)
    with pytest.raises(EmailTaken):
        desk.invitations.invite(None, "", "jane@example.org", Role.USER)
    with pytest.raises(NotPossible):
        desk.invitations.invite(None, "", None, Role.OWNER)
    del store


def test_whoever_has_an_account_joins_with_an_invitation_for_him(store: Store, desk: Desk) -> None:
    ada, bob = add(store, "ada"), add(store, "bob")
    with store.begin() as tx:
        home = tx.create_application("home")
    _, link = desk.invitations.invite(None, "", None, Role.USER, home.id)
    desk.invitations.accept(Actor(ada), link.rpartition("/")[2])
    with pytest.raises(LinkExpired):
        desk.invitations.accept(Actor(bob), link.rpartition("/")[2])
    _, to_server = desk.invitations.invite(None, "", None, Role.USER)
    with pytest.raises(NotPossible, match="an account already"):
        desk.invitations.accept(Actor(bob), to_server.rpartition("/")[2])
    with store.snapshot() as tx:
        assert [member.user.id for member in tx.members(home.id)] == [ada.id]
        assert tx.memberships(bob.id) == {}


def test_whoever_has_no_password_keeps_the_way_in_that_he_has(store: Store, desk: Desk) -> None:
    actor = Actor(add(store, "ada"))
    with pytest.raises(NotPossible):
        desk.identity.disconnect(actor)
    with pytest.raises(NotPossible):
        desk.identity.change_password(actor, "anything at all", PASSWORD, HERE)
    with pytest.raises(WrongCredentials):
        desk.identity.sign_in("ada@example.org", "", HERE)


def test_the_command_changes_names_and_passwords(run: Callable[..., Any], tmp_path: Path) -> None:
    jane = ("--email", "jane@example.org")
    link = run("create", *jane, "--role", "owner")["link"]
    assert run("rename", *jane, "--first-name", "Janet")["first_name"] == "Janet"
    run("rename", *jane, "--last-name", "Roe")
    run("rename", *jane, fails=2)
    shown = run("show", *jane)
    assert (shown["first_name"], shown["last_name"], shown["role"]) == ("Janet", "Roe", "OWNER")
    assert (shown["owns"], shown["has_password"], shown["connected"]) == ([], False, False)
    run("set-password", *jane, "--password-file", "-", input=f"{PASSWORD}\n")
    assert run("show", *jane)["has_password"]
    desk = command_desk(tmp_path)
    cookie = desk.identity.sign_in(jane[1], PASSWORD, HERE).cookie
    with pytest.raises(LinkExpired):
        desk.identity.reset(link.rpartition("/")[2], "another password", HERE)
    assert "8 to 255" in run("set-password", *jane, "--password-file", "-", input="x\n", fails=1)
    assert desk.identity.actor_by_cookie(cookie, "192.0.2.1")
    run("set-password", *jane, "--password-file", "-", input="another password\n")
    assert desk.identity.actor_by_cookie(cookie, "192.0.2.1") is None
    desk.identity.sign_in(jane[1], "another password", HERE)
    desk.store.close()


def test_the_command_ends_what_lets_people_in(run: Callable[..., Any], tmp_path: Path) -> None:
    jane = ("--email", "jane@example.org")
    run("create", *jane, "--role", "owner")
    run("set-password", *jane, "--password-file", "-", input=f"{PASSWORD}\n")
    desk = command_desk(tmp_path)
    cookies = [desk.identity.sign_in(jane[1], PASSWORD, HERE).cookie for _ in range(3)]

    def inside() -> int:
        return sum(
            desk.identity.actor_by_cookie(cookie, "192.0.2.1") is not None for cookie in cookies
        )

    sessions = run("list-sessions", *jane)
    assert [one["address"] for one in sessions] == [HERE.address] * 3
    assert run("end-sessions", *jane, str(sessions[0]["id"])) == {"deleted": [sessions[0]["id"]]}
    assert inside() == 2
    run("end-sessions", *jane, str(sessions[0]["id"]), fails=1)
    assert len(run("end-sessions", *jane)["deleted"]) == 2
    assert inside() == 0

    token = run("create-token", *jane, "--name", "backup")["token"]
    (listed,) = run("list-tokens", *jane)
    assert (listed["name"], listed["expires_at"]) == ("backup", None)
    run("delete-token", *jane, str(listed["id"]))
    assert desk.tokens.actor(token) is None
    run("delete-token", *jane, str(listed["id"]), fails=1)

    link = run("invite", "--email", "jo@example.org")["link"]
    (invited,) = run("list-invitations")
    assert (invited["email"], invited["application"]) == ("jo@example.org", None)
    run("delete-invitation", str(invited["id"]))
    with pytest.raises(LinkExpired):
        desk.invitations.look(link.rpartition("/")[2])
    assert run("list-invitations") == []
    desk.store.close()
