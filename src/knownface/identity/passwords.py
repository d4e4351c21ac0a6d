"""Passwords and other secrets: which may be chosen, and what is kept of them."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from knownface.errors import InvalidRequest, UnusableEmail

SHORTEST: Final = 8
LONGEST: Final = 255
LONGEST_NAME: Final = 50
# What lets somebody in is noted as used no more often than this: a look needs no write.
NOTED_AFTER: Final = timedelta(minutes=5)
# Tells whoever finds a token where it belongs.
TOKEN_PREFIX: Final = "kft_"  # noqa: S105 - what tokens begin with, none of them

_EMAIL: Final = re.compile(r"[^\s@<>()\[\],;:\\\"]{1,64}@[^\s@<>()\[\],;:\\\"]{1,189}")
# What OWASP advises where memory is scarce; each worker thread may hold this much.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 << 10, parallelism=1)


def usable_email(email: str) -> str:
    """Return an address in lower case (UnusableEmail)."""
    email = email.strip().lower()
    if not email.isprintable() or not _EMAIL.fullmatch(email):
        raise UnusableEmail
    return email


def usable_name(name: str, what: str) -> str:
    """Return a first or last name without blanks around it (InvalidRequest)."""
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"The {what} must have 1 to {LONGEST_NAME} printable characters")
    return name


def usable_password(password: str, email: str) -> str:
    """Return a password that is not the first thing that somebody would try (InvalidRequest)."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidRequest(f"The password must have {SHORTEST} to {LONGEST} characters")
    if not password.strip():
        raise InvalidRequest("The password must not consist of blanks only")
    if password.strip().lower() in {email, email.partition("@")[0]}:
        raise InvalidRequest("The password must not be the e-mail address")
    return password


def hashed(password: str) -> str:
    """Return what is kept of a password."""
    return _HASHER.hash(_bytes(password))


def fits(password: str, password_hash: str | None) -> bool:
    """Tell whether this is the password; as slowly where there is none to compare with."""
    try:
        _HASHER.verify(password_hash or _nobodys(), _bytes(password))
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def outdated(password_hash: str) -> bool:
    """Tell whether a password should be hashed anew, more slowly than once."""
    return _HASHER.check_needs_rehash(password_hash)


def new_secret() -> str:
    """Return 32 random bytes as a text that may stand in an address."""
    return secrets.token_urlsafe(32)


def digest(kind: str, secret: str) -> bytes:
    """Return what is kept of a secret of 256 random bits, which no slow hash needs to protect."""
    return hashlib.sha256(f"knownface {kind}\0{secret}".encode("utf-8", "replace")).digest()


def _bytes(password: str) -> bytes:
    # JSON can hold halves of surrogate pairs.
    return password.encode("utf-8", "surrogatepass")


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_bytes(16))
