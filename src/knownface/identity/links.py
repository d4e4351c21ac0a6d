"""Links that let people in once: to choose a password, to make an account."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from knownface.identity.passwords import digest, new_secret

INVITATION: Final = "invitation"
RESET: Final = "password reset"
INVITATION_LASTS: Final = timedelta(days=7)
# One that is mailed is used at once; one that is handed on by somebody may wait for a day.
MAILED_RESET_LASTS: Final = timedelta(hours=1)
HANDED_RESET_LASTS: Final = timedelta(hours=24)

_PATHS: Final = {INVITATION: "/join/", RESET: "/reset/"}


def new_link(kind: str, base: str) -> tuple[str, bytes]:
    """Return a link below an address, and the digest that is kept of it."""
    secret = new_secret()
    return f"{base}{_PATHS[kind]}{secret}", digest(kind, secret)
