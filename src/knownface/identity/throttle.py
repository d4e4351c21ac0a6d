"""Keeping guessers out: failures are counted in the database, so that no restart forgets them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from knownface.errors import TooManyAttempts
from knownface.identity.passwords import digest

if TYPE_CHECKING:
    from knownface.store import Store, Transaction

_LONGEST_BLOCK: Final = 15 * 60  # seconds: a guesser must not lock somebody out for a day
_NETWORK_BITS: Final = 64  # what one subscriber gets of IPv6


@dataclass(frozen=True, slots=True)
class Limit:
    """How many failures are let pass before each further one doubles the wait, from a second on."""

    kind: str
    free: int
    quiet: timedelta  # after which failures are forgotten

    def seconds(self, failures: int) -> int:
        """Return for how long nobody is listened to after so many failures."""
        beyond = failures - self.free
        return min(_LONGEST_BLOCK, 2 ** min(beyond, 20)) if beyond >= 0 else 0


_DAY: Final = timedelta(days=1)
ACCOUNT: Final = Limit("account", 5, _DAY)
# Of many people, where a proxy hides theirs.
ADDRESS: Final = Limit("address", 50, timedelta(hours=1))
MAIL: Final = Limit("mail", 3, _DAY)
LONGEST_QUIET: Final = _DAY


class Attempt:
    """One attempt that was let through; it counts as a failure until it is said to be none."""

    def __init__(self, store: Store, account: bytes | None, address: bytes) -> None:
        self._store = store
        self._account = account
        self._address = address

    def succeeded(self, tx: Transaction) -> None:
        """Forget the failures of the account; the address, which may be many people's, has one
        less.
        """
        if self._account is not None:
            tx.forget_failures(self._account)
        tx.take_back_failure(self._address)


class Throttle:
    """Lets attempts through, or not."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def attempt(self, account: str | None, address: str, limit: Limit = ACCOUNT) -> Attempt:
        """Count an attempt on an account from an address beforehand, lest many come at once.

        TooManyAttempts where nobody is listened to for now.
        """
        where = digest(ADDRESS.kind, _network(address))
        who = None if account is None else digest(limit.kind, account)
        with self._store.begin() as tx:
            _refuse_blocked(tx, where)
            if who is not None:
                _refuse_blocked(tx, who)
                _count(tx, who, limit)
            _count(tx, where, ADDRESS)
        return Attempt(self._store, who, where)

    def pardon(self, tx: Transaction, account: str) -> None:
        """Forget the failures of an account, whose password is a new one."""
        tx.forget_failures(digest(ACCOUNT.kind, account))


def _refuse_blocked(tx: Transaction, key: bytes) -> None:
    until = tx.failures(key).blocked_until
    left = 0.0 if until is None else (until - datetime.now(UTC)).total_seconds()
    if left > 0:
        raise TooManyAttempts(int(left) + 1)


def _count(tx: Transaction, key: bytes, limit: Limit) -> None:
    seconds = limit.seconds(tx.count_failure(key, limit.quiet))
    if seconds:
        tx.block(key, datetime.now(UTC) + timedelta(seconds=seconds))


def _network(address: str) -> str:
    """Return the address, or of IPv6 the network that one subscriber has to choose from."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _NETWORK_BITS), strict=False))
