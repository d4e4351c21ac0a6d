"""The first start of a server that nobody is there to click through: owner, application, keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from knownface.errors import ConfigurationError, KnownfaceError, NameTaken, NotPossible
from knownface.identity.passwords import usable_email, usable_password
from knownface.people import Role
from knownface.types import ServiceType

if TYPE_CHECKING:
    from knownface.accounts import Accounts
    from knownface.identity import Users
    from knownface.store import Store

log = logging.getLogger(__name__)


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


def provide(store: Store, accounts: Accounts, users: Users, provision: Provision) -> None:
    """Make what is not there yet; a second call, here or in another process, changes nothing.

    An owner, or a service of that name, that is there already is left as it is. Nothing of a
    password or key is logged.
    """
    if provision.owner_email and not _owned(store):
        _make_owner(users, provision)
    if not provision.empty:
        _make_application(store, provision)
    for kind, key in provision.keys.items():
        try:
            accounts.create_service(provision.application, kind.value, kind, key)
        except NameTaken:
            continue
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


def _make_application(store: Store, provision: Provision) -> None:
    try:
        with store.begin() as tx:
            if tx.application(provision.application):
                return
            made, owner = tx.create_application(provision.application), tx.owner()
            if owner is not None:
                tx.set_membership(made.id, owner.id, Role.OWNER)
    except NameTaken:  # by another process, which goes on with it
        return
