"""How often each service is called, what comes of it and how long it takes, by day.

A request costs no statement: it is counted in memory, and the sums are added to the database every
few seconds and at the end of the process. Durations are kept as counts of ranges, so that sums of
several processes and days still tell what most requests took.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from knownface.errors import InvalidRequest
from knownface.types import Outcome, Usage

if TYPE_CHECKING:
    from knownface.store import Store

FLUSH_SECONDS: Final = 10.0
# From a millisecond to a minute, each a tenth above the one before.
BOUNDS: Final = tuple(1.1**step for step in range(118))
KEPT_DAYS: Final = 800
MOST_DAYS: Final = 366
MOST_MONTHS: Final = 24

_OF_CLIENTS: Final = 400
_OF_SERVERS: Final = 500


@dataclass(frozen=True, slots=True)
class Span:
    """The requests of some time; milliseconds are None where nothing was answered."""

    requests: int = 0
    errors: int = 0
    client_errors: int = 0
    mean_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """The last days and months of a service, oldest first, none left out, and all of it."""

    days: Mapping[date, Span]
    months: Mapping[date, Span]
    total: Span


class UsageCounter:
    """Counts for one process, from any thread; `flush` adds what was counted to the database."""

    def __init__(
        self, store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: Counter[tuple[int, date, Outcome, int]] = Counter()
        self._milliseconds: Counter[tuple[int, date, Outcome, int]] = Counter()
        self._used: dict[int, datetime] = {}
        self._forgotten: date | None = None

    def request(self, service_id: int, status: int, seconds: float) -> None:
        """Count a request of a service that ended with this HTTP status."""
        milliseconds = seconds * 1000
        place = (service_id, self._clock().date(), _outcome(status), _bucket(milliseconds))
        with self._lock:
            self._requests[place] += 1
            self._milliseconds[place] += round(milliseconds)

    def key_used(self, key_id: int) -> None:
        """Note that a key opened something just now."""
        moment = self._clock()
        with self._lock:
            self._used[key_id] = moment

    def flush(self) -> None:
        """Add what was counted to the database; where that fails it is kept for the next time."""
        with self._lock:
            requests, self._requests = self._requests, Counter()
            milliseconds, self._milliseconds = self._milliseconds, Counter()
            used, self._used = self._used, {}
        today = self._clock().date()
        try:
            if requests or used:
                rows = [Usage(*place, n, milliseconds[place]) for place, n in requests.items()]
                with self._store.begin() as tx:
                    tx.add_usage(rows)
                    tx.note_use(used)
                    if self._forgotten != today:
                        tx.forget_usage(today - timedelta(days=KEPT_DAYS))
                self._forgotten = today
        except BaseException:
            with self._lock:
                self._requests.update(requests)
                self._milliseconds.update(milliseconds)
                self._used = used | self._used
            raise

    def statistics(self, service_id: int, days: int, months: int) -> Statistics:
        """Return the last so many days and months of a service, today's included.

        InvalidRequest for more than is kept.
        """
        _check("days", days, MOST_DAYS)
        _check("months", months, MOST_MONTHS)
        today = self._clock().date()
        each_day = [today - timedelta(days=back) for back in reversed(range(days))]
        each_month = [_month(today, back) for back in reversed(range(months))]
        self.flush()  # what this process knows is not to be missed
        with self._store.snapshot() as tx:
            rows = tx.usage(service_id, date.min)
        by_day, by_month = defaultdict(list), defaultdict(list)
        for row in rows:
            by_day[row.day].append(row)
            by_month[row.day.replace(day=1)].append(row)
        return Statistics(
            {day: _span(by_day[day]) for day in each_day},
            {month: _span(by_month[month]) for month in each_month},
            _span(rows),
        )


def _outcome(status: int) -> Outcome:
    if status < _OF_CLIENTS:
        return Outcome.OK
    return Outcome.CLIENT if status < _OF_SERVERS else Outcome.SERVER


def _bucket(milliseconds: float) -> int:
    """Return the number of the range that ends at BOUNDS[number], the last being open."""
    return bisect_left(BOUNDS, milliseconds)


def _span(some: Iterable[Usage]) -> Span:
    """Sum up; durations are those of answers, for refusals are quick and say nothing."""
    by_outcome: Counter[Outcome] = Counter()
    buckets: Counter[int] = Counter()
    milliseconds = 0
    for row in some:
        by_outcome[row.outcome] += row.requests
        if row.outcome is Outcome.OK:
            buckets[row.bucket] += row.requests
            milliseconds += row.milliseconds
    answered = by_outcome[Outcome.OK]
    requests = by_outcome.total()
    return Span(
        requests,
        requests - answered,
        by_outcome[Outcome.CLIENT],
        milliseconds / answered if answered else None,
        _quantile(buckets, 0.95) if answered else None,
    )


def _quantile(buckets: Mapping[int, int], share: float) -> float:
    """Return about how many milliseconds this share of requests took at most."""
    left = share * sum(buckets.values())
    for number in sorted(buckets):
        if left <= buckets[number]:
            low, high = _RANGES[min(number, len(_RANGES) - 1)]
            return low + (high - low) * left / buckets[number]
        left -= buckets[number]
    raise AssertionError("there are none")


_RANGES: Final = tuple(pairwise((0.0, *BOUNDS)))


def _month(today: date, back: int) -> date:
    """Return the first day of the month so many months ago."""
    years, month = divmod(today.year * 12 + today.month - 1 - back, 12)
    return date(years, month + 1, 1)


def _check(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise InvalidRequest(f"{name} lies between 1 and {most}")
