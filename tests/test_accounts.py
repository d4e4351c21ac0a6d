"""Accounts: which key opens what, and that only its owner ever sees it."""

from __future__ import annotations

import logging
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownface.accounts import Accounts, key_digest
from knownface.errors import (
    ApplicationNotFound,
    InvalidRequest,
    MissingApiKey,
    NameTaken,
    ServiceNotFound,
)
from knownface.store import Store
from knownface.types import Service, ServiceType, Threshold

RECOGNITION, DETECTION, VERIFICATION = ServiceType


@pytest.fixture
def accounts(store: Store) -> Accounts:
    return Accounts(store)


def test_a_key_opens_its_service(accounts: Accounts) -> None:
    made, key = accounts.create_service("home", "door", RECOGNITION)
    assert accounts.authorize(key, RECOGNITION) == made
    assert (made.application, made.name, made.type) == ("home", "door", RECOGNITION)


def test_the_threshold_of_a_service_goes_wherever_its_key_does(accounts: Accounts) -> None:
    threshold = Threshold(max_fmr=1e-4)
    made, key = accounts.create_service("home", "door", RECOGNITION, threshold=Threshold(0.8))
    assert made.threshold == accounts.authorize(key, RECOGNITION).threshold == Threshold(0.8)
    changed = accounts.set_threshold("HOME", "Door", threshold)
    assert changed == accounts.authorize(key, RECOGNITION) == accounts.service("home", "door")
    assert changed.threshold == threshold
    assert accounts.set_threshold("home", "door", None).threshold is None
    assert accounts.authorize(key, RECOGNITION).threshold is None


@pytest.mark.parametrize("kind", [DETECTION, VERIFICATION])
def test_what_recognises_nobody_has_no_threshold(accounts: Accounts, kind: ServiceType) -> None:
    with pytest.raises(InvalidRequest, match="only a recognition service"):
        accounts.create_service("home", "cam", kind, threshold=Threshold(0.8))
    accounts.create_service("home", "cam", kind)
    with pytest.raises(InvalidRequest, match="only a recognition service"):
        accounts.set_threshold("home", "cam", Threshold(0.8))
    assert [one.threshold for one in accounts.services()] == [None]
    with pytest.raises(ServiceNotFound):
        accounts.set_threshold("home", "gate", None)


def test_a_key_is_a_random_uuid(accounts: Accounts) -> None:
    keys = {accounts.create_service("home", f"s{i}", DETECTION)[1] for i in range(20)}
    assert len(keys) == 20
    assert {uuid.UUID(key).version for key in keys} == {4}
    assert all(len(key) == 36 for key in keys)


def test_no_key_is_a_missing_header(accounts: Accounts) -> None:
    with pytest.raises(MissingApiKey):
        accounts.authorize(None, RECOGNITION)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "abc",
        "00000000-0000-0000-0000-00000000000",
        "00000000-0000-0000-0000-0000000000000",
        "00000000000000000000000000000000",
        "{00000000-0000-0000-0000-000000000000}",
        "00000000-0000-0000-0000-00000000000g",
        "٠0000000-0000-0000-0000-000000000000",
        " 00000000-0000-0000-0000-00000000000",
        "00000000-0000-0000-0000-000000000000\n",
    ],
)
def test_what_is_no_uuid_is_refused_as_comprefaces_clients_know_it(
    accounts: Accounts, key: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        accounts.authorize(key, RECOGNITION)
    assert refused.value.message == "Service API key should be UUID"
    assert refused.value.code == 26


@given(st.text(max_size=40))
def test_any_text_for_a_key_is_answered(text: str) -> None:
    assert len(key_digest(text.encode("utf-8", "replace").decode())) == 32


@pytest.mark.parametrize("kind", list(ServiceType))
def test_a_key_of_another_type_is_not_found(accounts: Accounts, kind: ServiceType) -> None:
    other = DETECTION if kind is RECOGNITION else RECOGNITION
    key = accounts.create_service("home", "one", other)[1]
    with pytest.raises(ServiceNotFound) as refused:
        accounts.authorize(key, kind)
    expected = f"{kind.value.capitalize()} service with API Key {key} not found"
    assert refused.value.message == expected
    assert (refused.value.status, refused.value.code) == (404, 10)


def test_an_unknown_key_is_not_found(accounts: Accounts) -> None:
    with pytest.raises(ServiceNotFound):
        accounts.authorize(str(uuid.uuid4()), RECOGNITION)


def test_a_key_of_the_operators_own_is_taken_as_it_is(accounts: Accounts) -> None:
    own = "ABCDEF00-0000-4000-8000-00000000ABCD"
    made, key = accounts.create_service("home", "door", RECOGNITION, own)
    assert key == own
    assert accounts.authorize(own, RECOGNITION) == made
    with pytest.raises(ServiceNotFound):
        accounts.authorize(own.lower(), RECOGNITION)


def test_an_own_key_that_is_no_uuid_makes_nothing(accounts: Accounts) -> None:
    with pytest.raises(InvalidRequest):
        accounts.create_service("home", "door", RECOGNITION, "secret")
    assert accounts.services() == []


def test_no_two_services_share_a_key(accounts: Accounts) -> None:
    key = accounts.create_service("home", "door", RECOGNITION)[1]
    with pytest.raises(NameTaken):
        accounts.create_service("work", "gate", RECOGNITION, key)
    with pytest.raises(NameTaken):
        accounts.create_service("work", "gate", DETECTION, key)
    assert [service.name for service in accounts.services()] == ["door"]


def test_two_services_of_one_application_differ_in_more_than_case(accounts: Accounts) -> None:
    accounts.create_service("home", "door", RECOGNITION)
    with pytest.raises(NameTaken):
        accounts.create_service("HOME", "Door", DETECTION)
    accounts.create_service("work", "door", DETECTION)
    named = {(service.application, service.name) for service in accounts.services()}
    assert named == {("home", "door"), ("work", "door")}


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00b", "x" * 256])
def test_a_name_that_cannot_be_shown_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(InvalidRequest):
        accounts.create_service(name, "door", RECOGNITION)
    with pytest.raises(InvalidRequest):
        accounts.create_service("home", name, RECOGNITION)
    assert accounts.services() == []


def test_a_deleted_services_key_opens_nothing(accounts: Accounts) -> None:
    key = accounts.create_service("home", "door", RECOGNITION)[1]
    accounts.delete_service("home", "DOOR")
    assert accounts.services() == []
    with pytest.raises(ServiceNotFound):
        accounts.authorize(key, RECOGNITION)


def test_deleting_or_renewing_what_is_not_there_says_so(accounts: Accounts) -> None:
    accounts.create_service("home", "door", RECOGNITION)
    with pytest.raises(ApplicationNotFound):
        accounts.delete_service("work", "door")
    with pytest.raises(ServiceNotFound):
        accounts.rotate_key("home", "gate")


def test_after_a_rotation_only_the_new_key_opens(accounts: Accounts) -> None:
    made, old = accounts.create_service("home", "door", RECOGNITION)
    new = accounts.rotate_key("home", "door")
    assert new != old
    assert accounts.authorize(new, RECOGNITION) == made
    with pytest.raises(ServiceNotFound):
        accounts.authorize(old, RECOGNITION)


def test_rotation_refuses_a_key_in_use_and_keeps_the_old_one(accounts: Accounts) -> None:
    made, old = accounts.create_service("home", "door", RECOGNITION)
    other = accounts.create_service("home", "gate", RECOGNITION)[1]
    with pytest.raises(NameTaken):
        accounts.rotate_key("home", "door", other)
    assert accounts.authorize(old, RECOGNITION) == made


def test_the_first_run_makes_one_service_of_each_type(accounts: Accounts) -> None:
    made = accounts.bootstrap()
    assert [service.type for service, _ in made] == list(ServiceType)
    assert {service.application for service, _ in made} == {"default"}
    for service, key in made:
        assert accounts.authorize(key, service.type) == service


def test_a_later_run_makes_nothing(accounts: Accounts) -> None:
    accounts.bootstrap()
    assert accounts.bootstrap() == []
    accounts.delete_service("default", "recognition")
    assert accounts.bootstrap() == []
    assert len(accounts.services()) == 2


def test_a_database_with_services_gets_no_default_ones(accounts: Accounts) -> None:
    accounts.create_service("home", "door", RECOGNITION)
    assert accounts.bootstrap() == []


def test_of_servers_that_start_at_once_one_makes_the_default_services(database_url: str) -> None:
    stores = [Store.open(database_url) for _ in range(4)]
    together = threading.Barrier(len(stores))

    def first_run(store: Store) -> list[tuple[Service, str]]:
        together.wait(30)
        return Accounts(store).bootstrap()

    with ThreadPoolExecutor(len(stores)) as pool:
        made = [found for found in pool.map(first_run, stores) if found]
    assert [len(found) for found in made] == [3]
    assert Accounts(stores[0]).services() == [service for service, _ in made[0]]
    for store in stores:
        store.close()


def test_no_key_is_in_the_database_or_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = Store.open(f"sqlite:///{tmp_path}/accounts.db")
    accounts = Accounts(store)
    keys = [key for _, key in accounts.bootstrap()]
    keys.append(accounts.rotate_key("default", "recognition"))
    accounts.authorize(keys[-1], RECOGNITION)
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("accounts.db*"))
    store.close()
    assert b"recognition" in stored
    for key in keys:
        assert key.encode() not in stored
        assert uuid.UUID(key).bytes not in stored
        assert key not in caplog.text
