"""Applications, services and keys, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import event, text

from knownface.errors import ApplicationNotFound, KnownfaceError, NameTaken, ServiceNotFound
from knownface.store import Store
from knownface.types import Application, Service, ServiceType, Threshold
from stored import digest, face, make_service


@pytest.fixture
def application(store: Store) -> Application:
    with store.begin() as tx:
        return tx.create_application("Acme")


def create(store: Store, application: Application, name: str, key: str) -> Service:
    with store.begin() as tx:
        return tx.create_service(application, name, ServiceType.DETECTION, digest(key))


def test_an_application_is_found_by_its_name_ignoring_case(
    store: Store, application: Application
) -> None:
    with store.snapshot() as tx:
        assert tx.application("ACME") == application
        assert tx.application("Other") is None
        assert tx.applications() == [application]


@pytest.mark.usefixtures("application")
def test_two_applications_of_one_name_are_refused(store: Store) -> None:
    with pytest.raises(NameTaken, match="acme"), store.begin() as tx:
        tx.create_application("acme")


def test_a_service_is_found_by_its_key(store: Store, application: Application) -> None:
    service = create(store, application, "door", "key of the door")
    assert service == Service(service.id, "Acme", "door", ServiceType.DETECTION)
    with store.snapshot() as tx:
        assert tx.service_by_key(digest("key of the door")) == service
        assert tx.service_by_key(digest("another key")) is None


def test_the_look_up_of_a_key_reads_no_table_as_a_whole(
    store: Store, application: Application
) -> None:
    create(store, application, "door", "key")
    asked: list[tuple[str, object]] = []
    with store.begin() as tx:

        @event.listens_for(tx.connection, "before_cursor_execute")
        def listen(_c: object, _cursor: object, sql: str, values: object, *_: object) -> None:
            asked.append((sql, values))

        tx.service_by_key(digest("key"))
        (sql, values), sqlite = asked[0], tx.connection.dialect.name == "sqlite"
        if not sqlite:
            # With one row in a table PostgreSQL would rather read it all.
            tx.connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = tx.connection.exec_driver_sql(
            f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{sql}",
            values,  # type: ignore[arg-type]  # as the driver was given them
        ).all()
    assert "SCAN" not in str(plan).replace("Index Scan", "").replace("Seq Scan", "SCAN")
    assert ("api_key_1 (digest=?)" if sqlite else "uq_api_key_digest") in str(plan)


def test_service_names_are_unique_within_their_application_ignoring_case(
    store: Store, application: Application
) -> None:
    create(store, application, "door", "key 1")
    with pytest.raises(NameTaken, match="DOOR"):
        create(store, application, "DOOR", "key 2")
    with store.begin() as tx:
        other = tx.create_application("Other")
    create(store, other, "Door", "key 3")


def test_a_key_opens_one_service_only(store: Store, application: Application) -> None:
    create(store, application, "door", "key")
    with pytest.raises(NameTaken, match="key"):
        create(store, application, "gate", "key")
    with store.snapshot() as tx:
        assert [service.name for service in tx.services()] == ["door"]


def test_services_are_listed_for_one_application_or_for_all(
    store: Store, application: Application
) -> None:
    with store.begin() as tx:
        other = tx.create_application("Other")
    first = create(store, application, "b", "key 1")
    second = create(store, other, "a", "key 2")
    third = create(store, application, "a", "key 3")
    with store.snapshot() as tx:
        assert tx.services() == [first, second, third]
        assert tx.services(application.id) == [first, third]
        assert tx.services(10**9) == []


def test_a_replaced_key_opens_nothing_any_more(store: Store, application: Application) -> None:
    service = create(store, application, "door", "old")
    other = create(store, application, "gate", "of another")
    with store.begin() as tx:
        tx.replace_key(service.id, digest("new"))
    with store.begin() as tx:
        tx.replace_key(service.id, digest("new"))
    with pytest.raises(NameTaken), store.begin() as tx:
        tx.replace_key(service.id, digest("of another"))
    with store.snapshot() as tx:
        assert tx.service_by_key(digest("old")) is None
        assert tx.service_by_key(digest("new")) == service
        assert tx.service_by_key(digest("of another")) == other


@pytest.mark.parametrize("threshold", [None, Threshold(0.1), Threshold(0.0), Threshold(None, 1e-7)])
def test_a_threshold_is_kept_to_the_last_digit(
    store: Store, application: Application, threshold: Threshold | None
) -> None:
    with store.begin() as tx:
        made = tx.create_service(
            application, "door", ServiceType.RECOGNITION, digest("key"), threshold
        )
    other = create(store, application, "gate", "of another")
    with store.snapshot() as tx:
        assert tx.services() == [made, other]
        assert tx.service_by_key(digest("key")) == made
    assert (made.threshold, other.threshold) == (threshold, None)


def test_a_threshold_is_replaced_as_a_whole(store: Store, application: Application) -> None:
    service, other = (create(store, application, name, f"key {name}") for name in ("a", "b"))
    for threshold in (Threshold(0.5), Threshold(max_fmr=0.001), None):
        with store.begin() as tx:
            tx.set_threshold(service.id, threshold)
        with store.snapshot() as tx:
            assert [one.threshold for one in tx.services()] == [threshold, None]
    with store.begin() as tx:
        tx.delete_service(other.id)
    with pytest.raises(ServiceNotFound), store.begin() as tx:
        tx.set_threshold(other.id, None)


def test_what_is_gone_cannot_be_deleted_or_used(store: Store, application: Application) -> None:
    service = create(store, application, "door", "key")
    with store.begin() as tx:
        tx.delete_service(service.id)
        tx.delete_application(application.id)
    with pytest.raises(ServiceNotFound), store.begin() as tx:
        tx.delete_service(service.id)
    with pytest.raises(ServiceNotFound), store.begin() as tx:
        tx.replace_key(service.id, digest("new"))
    with pytest.raises(ApplicationNotFound), store.begin() as tx:
        tx.delete_application(application.id)
    with pytest.raises(ApplicationNotFound):
        create(store, application, "door", "key")


def test_deleting_an_application_erases_everything_below_it_and_nothing_else(
    store: Store, application: Application
) -> None:
    doomed = create(store, application, "door", "key")
    spared = make_service(store)
    with store.begin() as tx:
        tx.add_example(doomed.id, "Ada", face(1), None)
        kept = tx.add_example(spared.id, "Ada", face(1), None)
        tx.delete_application(application.id)
    with store.snapshot() as tx:
        assert tx.services() == [spared]
        assert tx.service_by_key(digest("key")) is None
        assert tx.counts(doomed.id) == (0, 0)
        assert tx.example(spared.id, kept.image_id) == kept


def test_the_number_of_a_deleted_service_is_never_given_again(
    store: Store, application: Application
) -> None:
    seen = set()
    for number in range(3):
        service = create(store, application, "door", f"key {number}")
        with store.begin() as tx:
            example = tx.add_example(service.id, "Ada", face(1), None)
            subject = tx.subject(service.id, "Ada")
            assert subject is not None
            seen.add((service.id, example.key, subject.id))
            tx.delete_service(service.id)
    assert all(len(set(numbers)) == 3 for numbers in zip(*seen, strict=True))


def test_of_many_who_create_the_same_application_at_once_one_succeeds(store: Store) -> None:
    start = threading.Barrier(6)
    outcomes: list[KnownfaceError | Application] = []

    def create_it() -> None:
        start.wait()
        try:
            with store.begin() as tx:
                outcomes.append(tx.create_application("Acme"))
        except KnownfaceError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=create_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, Application) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, NameTaken) for outcome in outcomes) == 5
