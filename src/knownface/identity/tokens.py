"""Personal access tokens: what lets a program act as somebody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from knownface.errors import Forbidden, InvalidRequest, NotFound
from knownface.identity.passwords import (
    NOTED_AFTER,
    TOKEN_PREFIX,
    digest,
    new_secret,
    usable_name,
)
from knownface.people import AccessToken, Actor, User

if TYPE_CHECKING:
    from knownface.store import Store

_KIND: Final = "access token"


class Tokens:
    """The access tokens of one Store; what is kept of each is a digest."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def actor(self, token: str) -> Actor | None:
        """Return as whom a program acts; None when its token is not, or no longer, valid."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        with self._store.snapshot() as tx:
            found = tx.token_by_digest(digest(_KIND, token))
            if found is None:
                return None
            user = tx.user(found.user_id)
        used = found.last_used_at
        if used is None or datetime.now(UTC) - used > NOTED_AFTER:
            with self._store.begin() as tx:
                tx.note_token_use(found.id)
        return Actor(user, token=found.id)

    def list(self, actor: Actor) -> list[AccessToken]:
        """Return the actor's tokens, oldest first."""
        with self._store.snapshot() as tx:
            return tx.tokens(actor.user.id)

    def add(self, actor: Actor, name: str, expires_at: datetime | None) -> tuple[AccessToken, str]:
        """Make a token, and return it with its text, which nobody can read again.

        Forbidden for a program, whose token could otherwise outlive its time; InvalidRequest.
        """
        if actor.token is not None:
            raise Forbidden("An access token makes no others: sign in.")
        return self.issue(actor.user, name, expires_at)

    def issue(self, user: User, name: str, expires_at: datetime | None) -> tuple[AccessToken, str]:
        """Make a token for a user, at the operator's word (InvalidRequest)."""
        name = usable_name(name, "name")
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise InvalidRequest("expires_at should be in the future")
        text = TOKEN_PREFIX + new_secret()
        with self._store.begin() as tx:
            return tx.add_token(user.id, digest(_KIND, text), name, expires_at), text

    def remove(self, actor: Actor, token_id: int) -> None:
        """Take one of the actor's tokens back (NotFound)."""
        with self._store.begin() as tx:
            if not tx.remove_token(actor.user.id, token_id):
                raise NotFound("There is no such access token.")
