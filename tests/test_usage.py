"""Counting requests: in memory, added to the database, told by day and month."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from knownface.accounts import Accounts
from knownface.errors import InvalidRequest, KnownfaceError
from knownface.store import Store
from knownface.types import Service, ServiceType
from knownface.usage import BOUNDS, KEPT_DAYS, UsageCounter
from stored import make_service

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
TODAY = NOW.date()


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def usage(store: Store, clock: Clock) -> UsageCounter:
    return UsageCounter(store, clock)


@pytest.fixture
def service(store: Store) -> Service:
    return make_service(store)


def test_what_was_counted_outlives_the_process(
    store: Store, usage: UsageCounter, clock: Clock, service: Service
) -> None:
    for status in (200, 201, 404, 499, 503):
        usage.request(service.id, status, 0.05)
    usage.flush()
    usage.request(service.id, 200, 0.05)
    usage.flush()
    total = UsageCounter(store, clock).statistics(service.id, 1, 1).total
    assert (total.requests, total.errors, total.client_errors) == (6, 3, 2)


def test_what_this_process_knows_is_told_at_once(usage: UsageCounter, service: Service) -> None:
    usage.request(service.id, 200, 0.05)
    assert usage.statistics(service.id, 1, 1).days[TODAY].requests == 1


def test_days_and_months_are_complete_and_in_order(
    usage: UsageCounter, clock: Clock, service: Service
) -> None:
    for back in (0, 1, 29, 40):
        clock.now = NOW - timedelta(days=back)
        usage.request(service.id, 200, 0.01)
    clock.now = NOW
    told = usage.statistics(service.id, 30, 6)
    assert list(told.days) == [TODAY - timedelta(days=back) for back in range(29, -1, -1)]
    assert [span.requests for span in told.days.values()] == [1, *[0] * 27, 1, 1]
    assert list(told.months) == [
        date(2025, 10, 1),
        date(2025, 11, 1),
        date(2025, 12, 1),
        date(2026, 1, 1),
        date(2026, 2, 1),
        date(2026, 3, 1),
    ]
    assert [span.requests for span in told.months.values()] == [0, 0, 0, 0, 1, 3]
    assert told.total.requests == 4
    assert told.days[TODAY - timedelta(days=2)].mean_ms is None
    assert told.days[TODAY - timedelta(days=2)].p95_ms is None


def test_the_latency_is_that_of_answers(usage: UsageCounter, service: Service) -> None:
    for _ in range(95):
        usage.request(service.id, 200, 0.020)
    for _ in range(5):
        usage.request(service.id, 200, 0.400)
    usage.request(service.id, 500, 60.0)
    total = usage.statistics(service.id, 1, 1).total
    assert total.mean_ms == pytest.approx(39)
    assert total.p95_ms == pytest.approx(20, rel=0.25)
    for _ in range(2):
        usage.request(service.id, 200, 3600.0)
    later = usage.statistics(service.id, 1, 1).total.p95_ms
    assert later == pytest.approx(400, rel=0.25)
    for _ in range(100):
        usage.request(service.id, 200, 3600.0)
    most = usage.statistics(service.id, 1, 1).total.p95_ms
    assert most is not None
    assert 60_000 < most <= BOUNDS[-1]


def test_what_cannot_be_stored_now_is_not_lost(
    database_url: str, store: Store, service: Service, clock: Clock
) -> None:
    closed = Store.open(database_url)
    usage = UsageCounter(closed, clock)
    usage.request(service.id, 200, 0.01)
    with store.snapshot() as tx:
        (key,) = tx.keys(service.id)
    usage.key_used(key.id)
    closed.close()
    with pytest.raises(KnownfaceError):
        usage.flush()
    usage._store = store  # as if the database had come back
    clock.now = NOW + timedelta(seconds=1)
    usage.request(service.id, 200, 0.01)
    usage.flush()
    with store.snapshot() as tx:
        counted = [(one.requests, one.milliseconds) for one in tx.usage(service.id, TODAY)]
        assert counted == [(2, 20)]
        assert tx.keys(service.id)[0].last_used_at == NOW


def test_requests_of_a_service_that_is_gone_are_forgotten(
    usage: UsageCounter, store: Store, service: Service
) -> None:
    usage.request(service.id, 200, 0.01)
    with store.begin() as tx:
        tx.delete_service(service.id)
    usage.flush()
    assert usage.statistics(service.id, 1, 1).total.requests == 0


def test_old_days_are_dropped(usage: UsageCounter, clock: Clock, service: Service) -> None:
    usage.request(service.id, 200, 0.01)
    usage.flush()
    clock.now = NOW + timedelta(days=KEPT_DAYS + 1)
    usage.request(service.id, 200, 0.01)
    usage.flush()
    assert usage.statistics(service.id, 1, 1).total.requests == 1


@pytest.mark.parametrize(("days", "months"), [(0, 1), (1, 0), (367, 1), (1, 25)])
def test_no_more_is_told_than_is_kept(
    usage: UsageCounter, service: Service, days: int, months: int
) -> None:
    with pytest.raises(InvalidRequest, match="lies between 1 and"):
        usage.statistics(service.id, days, months)


def test_the_last_use_of_a_key_is_noted(store: Store, clock: Clock) -> None:
    usage = UsageCounter(store, clock)
    accounts = Accounts(store, on_use=usage.key_used)
    made, key = accounts.create_service("home", "door", ServiceType.DETECTION)
    accounts.authorize(key, ServiceType.DETECTION)
    usage.flush()
    with store.snapshot() as tx:
        (known,) = tx.keys(made.id)
    assert known.last_used_at == NOW
    assert known.hint == key[-4:]
