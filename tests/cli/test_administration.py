"""`knownface application` and `knownface service` do all that the page does, without a page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cli.commands import Run, printed
from knownface.accounts import Accounts
from knownface.errors import ServiceNotFound
from knownface.identity import Desk, Place, SignUp
from knownface.people import Role
from knownface.store import Store
from knownface.store.people import Newcomer
from knownface.types import ServiceType
from stored import face, picture

RECOGNITION = ServiceType.RECOGNITION
PASSWORD = "correct horse battery"


@pytest.fixture
def accounts(store: Store) -> Accounts:
    return Accounts(store)


def user(store: Store, email: str) -> None:
    with store.begin() as tx:
        assert tx.add_user(Newcomer(email, "Jane", "Doe", Role.USER))


def test_applications_are_made_renamed_listed_and_erased(run: Run, store: Store) -> None:
    user(store, "jane@example.org")
    made = printed(run("application", "create", "home", "--owner", "Jane@Example.org", "--json"))
    assert (made["name"], made["owner"], made["members"]) == ("home", "Jane Doe", 1)
    run("application", "create", "work")
    run("application", "create", "HOME", fails=1)
    run("application", "create", "nobody's", "--owner", "none@example.org", fails=1)
    assert "house" in run("application", "rename", "Home", "--to", "house").stdout
    listed = printed(run("application", "list", "--json"))
    assert [one["name"] for one in listed] == ["house", "work"]
    assert "work" in run("application", "list").stdout
    run("application", "delete", "house", input="home\n", fails=1)
    run("application", "delete", "house", input="house\n")
    run("application", "delete", "work", "--yes")
    assert printed(run("application", "list", "--json")) == []


def test_members_are_chosen(run: Run, store: Store) -> None:
    for email in ("jane@example.org", "john@example.org"):
        user(store, email)
    run("application", "create", "home", "--owner", "jane@example.org")
    members = ("application", "members")
    asked = (*members, "add", "home", "--email", "john@example.org")
    added = printed(run(*asked, "--json"))["member"]
    assert (added["email"], added["role"]) == ("john@example.org", "user")
    run(*asked, fails=1)
    run(*members, "remove", "home", "--email", "jane@example.org", fails=1)
    run(*members, "set", "home", "--email", "john@example.org", "--role", "owner")
    roles = {one["email"]: one["role"] for one in printed(run(*members, "list", "home", "--json"))}
    assert roles == {"jane@example.org": "administrator", "john@example.org": "owner"}
    run(*members, "remove", "home", "--email", "Jane@example.org")
    assert "jane" not in run(*members, "list", "home").stdout
    run(*members, "remove", "home", "--email", "jane@example.org", fails=1)


def test_whoever_has_no_account_is_invited_to_an_application(run: Run, store: Store) -> None:
    run("application", "create", "home")
    asked = ("application", "members", "add", "home", "--role", "administrator", "--email")
    made = printed(run(*asked, "New@Example.org", "--json"))["invitation"]
    assert (made["email"], made["role"]) == ("new@example.org", "ADMINISTRATOR")
    assert made["application"] == "home"
    link = run(*asked, "other@example.org").stdout.split()[-1]
    assert "is not one" in run(*asked, "nonsense", fails=1).stderr
    desk = Desk(store, registration="invited", public_url="", smtp_url="", mail_from="")
    for address, one in (("new@example.org", made["link"]), ("other@example.org", link)):
        assert one.startswith("http://localhost:8000/join/")
        asking = SignUp(address, "Jo", "Doe", PASSWORD, one.rpartition("/")[2])
        desk.identity.sign_up(asking, Place("192.0.2.1"))
    found = printed(run("application", "members", "list", "home", "--json"))
    assert {one["email"] for one in found} == {"new@example.org", "other@example.org"}
    gone = run("application", "members", "remove", "home", "--email", "new@example.org", "--json")
    assert printed(gone) == {"removed": "new@example.org"}


def test_what_lets_people_in_is_told_in_words(run: Run, store: Store) -> None:
    user(store, "jane@example.org")
    jane = ("--email", "jane@example.org")
    run("application", "create", "home", "--owner", "jane@example.org")
    assert "home" in run("user", "show", *jane).stdout
    assert "Janet Doe" in run("user", "rename", *jane, "--first-name", "Janet").stdout
    chosen = run("user", "set-password", *jane, "--password-file", "-", input=PASSWORD)
    assert "signed out everywhere" in chosen.stdout
    run("user", "create-token", *jane, "--name", "backup")
    run("user", "invite", "--application", "home")
    assert "backup" in run("user", "list-tokens", *jane).stdout
    assert "home" in run("user", "list-invitations").stdout
    assert "opens nothing" in run("user", "delete-token", *jane, "1").stdout
    assert "leads nowhere" in run("user", "delete-invitation", "1").stdout
    assert "Ended 0 sessions" in run("user", "end-sessions", *jane).stdout
    listed = run("application", "members", "list", "home").stdout
    assert "Janet" in listed


def test_what_was_deleted_is_told_to_programs(run: Run, accounts: Accounts) -> None:
    accounts.create_service("home", "door", RECOGNITION)
    named = ("--name", "door", "--application", "home")
    run("service", "keys", "add", "camera", *named)
    gone = run("service", "keys", "delete", "camera", *named, "--json")
    assert printed(gone) == {"deleted": "camera"}
    gone = run("application", "delete", "home", "--json", input="home\n")
    assert printed(gone) == {"deleted": "home"}


def test_a_service_is_made_to_keep_no_photographs(run: Run, accounts: Accounts) -> None:
    create = ("service", "create", "--type", "recognition", "--name")
    run(*create, "door", "--save-images", "no")
    run(*create, "gate")
    assert accounts.service("default", "door").save_images is False
    assert accounts.service("default", "gate").save_images is None


def test_keys_are_made_renewed_and_taken_away(run: Run, accounts: Accounts) -> None:
    made, first = accounts.create_service("default", "door", RECOGNITION)
    keys, named = ("service", "keys"), ("--name", "door")
    added = printed(run(*keys, "add", "camera", *named, "--expires", "30d", "--json"))
    assert accounts.authorize(added["api_key"], RECOGNITION) == made
    left = datetime.fromisoformat(added["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    own = "6b135f5b-a365-4522-b1f1-4c9ac2dd0728"
    assert own in run(*keys, "add", "own", *named, "--key", own).stdout
    listed = printed(run(*keys, "list", *named, "--json"))
    assert [one["key"] for one in listed] == ["default", "camera", "own"]
    assert [one["ends_with"] for one in listed] == [first[-4:], added["api_key"][-4:], "0728"]
    rotated = printed(run(*keys, "rotate", "CAMERA", *named, "--json"))
    assert accounts.authorize(rotated["api_key"], RECOGNITION) == made
    with pytest.raises(ServiceNotFound):
        accounts.authorize(added["api_key"], RECOGNITION)
    (changed,) = printed(run(*keys, "update", "camera", *named, "--no-expiry", "--json"))
    assert changed["expires_at"] is None
    run(*keys, "update", "camera", *named, "--to", "gate", "--expires", "2090-01-31")
    run(*keys, "delete", "gate", *named)
    assert "there are: default, own" in run(*keys, "delete", "gate", *named, fails=1).stderr
    assert "several keys" in run("service", "rotate-key", *named, fails=1).stderr
    run(*keys, "update", "own", *named, fails=2)
    run(*keys, "update", "own", *named, "--no-expiry", "--expires", "1d", fails=2)
    run(*keys, "add", "x", *named, "--expires", "tomorrow", fails=2)
    run(*keys, "add", "x", *named, "--expires", "2020-01-01", fails=1)


def test_a_service_is_shown_renamed_and_set(run: Run, accounts: Accounts) -> None:
    accounts.create_service("default", "door", RECOGNITION)
    shown = printed(run("service", "rename", "--name", "door", "--to", "gate", "--json"))
    assert (shown["name"], shown["subjects"], shown["copy"]) == ("gate", 0, None)
    run("service", "update", "--name", "gate", "--save-images", "no")
    assert accounts.service("default", "gate").save_images is False
    assert "gate" in run("service", "show", "--name", "gate").stdout
    changed = run(
        "service", "update", "--name", "gate", "--save-images", "server", "--no-threshold", "--json"
    )
    assert printed(changed)["save_images"] is None
    run("service", "update", "--name", "gate", fails=2)
    run("service", "show", "--name", "door", fails=1)


def test_a_service_is_cloned_without_a_server(run: Run, accounts: Accounts, store: Store) -> None:
    made, _ = accounts.create_service("default", "door", RECOGNITION)
    with store.begin() as tx:
        for number in range(3):
            tx.add_example(made.id, f"Person {number}", face(number), picture(number))
    copied = printed(run("service", "clone", "--name", "door", "--to", "gate", "--json"))
    assert (copied["copy"]["state"], copied["examples"], copied["subjects"]) == ("done", 3, 3)
    assert accounts.authorize(copied["api_key"], RECOGNITION).name == "gate"
    run("service", "clone", "--name", "door", "--to", "gate", fails=1)


def test_an_interrupted_clone_goes_on(run: Run, accounts: Accounts, store: Store) -> None:
    made, _ = accounts.create_service("default", "door", RECOGNITION)
    with store.begin() as tx:
        tx.add_example(made.id, "Ada", face(1), None)
    clone = ("service", "clone", "--name", "door", "--to", "gate")
    assert "shown only now" in run(*clone, "--no-wait").stdout
    shown = printed(run("service", "show", "--name", "gate", "--json"))
    assert (shown["copy"]["state"], shown["copy"]["done"]) == ("running", 0)
    again = printed(run(*clone, "--json"))
    assert (again["copy"]["state"], again["api_key"]) == ("done", None)


def test_what_was_counted_is_told(run: Run, accounts: Accounts, store: Store) -> None:
    from knownface.usage import UsageCounter

    made, _ = accounts.create_service("default", "door", RECOGNITION)
    usage = UsageCounter(store)
    for status in (200, 200, 404):
        usage.request(made.id, status, 0.02)
    usage.flush()
    asked = ("service", "statistics", "--name", "door")
    told = printed(run(*asked, "--days", "2", "--months", "1", "--json"))
    assert [day["requests"] for day in told["days"]] == [0, 3]
    assert (told["total"]["requests"], told["total"]["errors"]) == (3, 1)
    assert "In all 3 requests, 1 of them failed." in run(*asked).stdout


def test_who_names_an_application_that_is_not_there_is_told_which_are(
    run: Run, accounts: Accounts
) -> None:
    unknown = ("service", "show", "--name", "door")
    assert "There is none yet." in run(*unknown, fails=1).output
    for number in range(12):
        accounts.create_service(f"house {number}", "door", RECOGNITION)
    for words in (unknown, ("service", "delete", "--name", "door", "--yes")):
        told = run(*words, fails=1).output
        assert "Application default not found. There are: house 0, " in told
        assert "house 9, …." in told
        assert "house 10" not in told
