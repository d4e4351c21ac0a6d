"""Values that come back from outside as they were handed out, or not at all.

All processes of one database share its secret, so that each understands what another has signed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from itsdangerous import BadSignature, URLSafeSerializer
from itsdangerous import Signer as Stamp

if TYPE_CHECKING:
    from knownface.store import Store

_NAME: Final = "signing"
_STEPS: Final = 3  # in how many steps the time of a value runs out


def signing_secret(store: Store) -> bytes:
    """Return the secret of a database, which gets one when it has none."""
    with store.snapshot() as tx:
        kept = tx.secret(_NAME)
    if kept is not None:
        return kept
    with store.begin() as tx:
        return tx.keep_secret(_NAME, secrets.token_bytes(32))


class Signer:
    """Signs with one secret. A `kind` keeps what was signed for one end from serving another."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def sign(self, kind: str, payload: object, seconds: int) -> str:
        """Return a text, fit for an address, that stands for a JSON value for a while.

        It lasts from two thirds of `seconds` up to all of them: equal values that are signed within
        a third are the same text, so that a browser finds in its cache what it has fetched.
        """
        step = max(1, seconds // _STEPS)
        expires = (int(self._clock()) // step + _STEPS) * step
        text: str | bytes = self._serializer(kind).dumps([expires, payload])
        return text if isinstance(text, str) else text.decode("ascii")

    def read(self, kind: str, token: str) -> object | None:
        """Return the JSON value that a text stands for; None when it is over, or none of ours."""
        try:
            loaded = self._serializer(kind).loads(token)
        except BadSignature:
            return None
        expires, payload = loaded
        return payload if self._clock() < expires else None

    def seal(self, kind: str, value: str) -> str:
        """Return a text with a signature behind it."""
        return self._stamp(kind).sign(value.encode()).decode()

    def open(self, kind: str, sealed: str) -> str | None:
        """Return the text in front of a signature; None when that is none of ours."""
        try:
            return self._stamp(kind).unsign(sealed.encode()).decode()
        except (BadSignature, UnicodeError):
            return None

    def mac(self, kind: str, value: str) -> str:
        """Return what only this server can say of a value."""
        return hmac.new(self._secret, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()

    def _serializer(self, kind: str) -> URLSafeSerializer:
        return URLSafeSerializer(
            self._secret,
            salt=f"knownface {kind}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def _stamp(self, kind: str) -> Stamp:
        return Stamp(
            self._secret,
            salt=f"knownface {kind}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
