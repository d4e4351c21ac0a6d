"""The first start of a server that nobody is there to click through: owner, application, keys."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

from knownface.accounts import key_digest, key_hint
from knownface.errors import ConfigurationError, KnownfaceError, NameTaken, NotPossible
from knownface.identity.passwords import usable_email, usable_password
from knownface.people import Role
from knownface.store.names import name_key
from knownface.types import ServiceType

if TYPE_CHECKING:
    from knownface.identity import Users
    from knownface.store import Store, Transaction
    from knownface.types import Application

log = logging.getLogger(__name__)

_DONE: Final = b"provided"


@dataclass(frozen=True, slots=True)
class Provision:
    """What the operator wants to be there, from the first start on."""

    application: str
    owner_email: str = ""
    owner_password: str = field(default="", repr=False)
    keys: Mapping[ServiceType, str] = field(default_factory=dict, repr=False)

    @property
    def empty(self) -> bool:
        """Whether the operator left it to the program."""
        return not self.owner_email and not self.keys


def check(provision: Provision) -> None:
    """Raise ConfigurationError for an owner or a service that could not be made."""
    if provision.owner_email:
        try:
            email = usable_email(provision.owner_email)
            usable_password(provision.owner_password, email)
        except KnownfaceError as error:
            raise ConfigurationError(f"KNOWNFACE_BOOTSTRAP_OWNER_…: {error.message}") from None
    for kind, key in provision.keys.items():
        if not _is_uuid(key):
            raise ConfigurationError(
                f"KNOWNFACE_BOOTSTRAP_{kind.name}_KEY should be a UUID, such as uuidgen makes."
            )


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()  # which takes other spellings, too
    except ValueError:
        return False


def provide(store: Store, users: Users, provision: Provision) -> None:
    """Make what was never made before; a second call, here or in another process, changes nothing.

    What was provided once is not made again: who deleted or renamed a service or an application,
    or put another key in the place of one, has to be able to rely on it. An owner, or a service of
    that name, that is there already is left as it is. Nothing of a password or key is logged.
    """
    if provision.owner_email and not _owned(store):
        _make_owner(users, provision)
    if not provision.empty:
        _make_application(store, provision.application)
    for kind, key in provision.keys.items():
        if _make_service(store, provision.application, kind, key):
            log.info("made a service", extra={"type": kind.value})


def _owned(store: Store) -> bool:
    with store.snapshot() as tx:
        return tx.owner() is not None


def _make_owner(users: Users, provision: Provision) -> None:
    email = provision.owner_email
    name = email.partition("@")[0][:50]
    try:
        users.create(email, name, "Owner", provision.owner_password, Role.OWNER)
    except NotPossible:  # another process was first
        return
    log.info("made the owner")


def _make_application(store: Store, name: str) -> None:
    with store.snapshot() as tx:  # most starts need no write, nor wait for another's
        if tx.secret(_mark("application", name_key(name))) is not None:
            return
    try:
        with store.begin() as tx:
            _application(tx, name)
    except NameTaken:  # by another process, which goes on with it
        return


def _make_service(store: Store, application: str, kind: ServiceType, key: str) -> bool:
    mark = _mark("key", key_digest(key))
    with store.snapshot() as tx:
        if tx.secret(mark) is not None:
            return False
    try:
        with store.begin() as tx:
            made = tx.key_by_digest(key_digest(key)) is None
            if made:
                parent = _application(tx, application)
                tx.create_service(parent, kind.value, kind, key_digest(key), hint=key_hint(key))
            tx.keep_secret(mark, _DONE)
            return made
    except NameTaken:  # a service of that name is there, and keeps the keys that it has
        with store.begin() as tx:
            tx.keep_secret(mark, _DONE)
        return False


def _application(tx: Transaction, name: str) -> Application:
    """Return what was provided under this name, whatever its name is now; made if need be."""
    mark = _mark("application", name_key(name))
    if provided := tx.secret(mark):
        for one in tx.applications():
            if one.id == int(provided):
                return one
    found = tx.application(name)
    if found is None:
        found, owner = tx.create_application(name), tx.owner()
        if owner is not None:
            tx.set_membership(found.id, owner.id, Role.OWNER)
    tx.keep_secret(mark, str(found.id).encode())
    return found


def _mark(kind: str, of: bytes) -> str:
    """Return the name under which it is kept that this was provided, 32 characters at most."""
    digest = hashlib.sha256(b"knownface provided\0" + of).hexdigest()
    return f"{kind} {digest[:20]}"
