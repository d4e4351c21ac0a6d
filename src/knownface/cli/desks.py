"""What the commands about people share: where they are dealt with, and what is printed of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from knownface.cli.administering import moment
from knownface.people import User
from knownface.settings import Settings

if TYPE_CHECKING:
    from knownface.identity import Desk
    from knownface.people import Invitation
    from knownface.store import Store

LINKS: Final = ("public_url", "port")  # what links begin with
MAIL: Final = ("smtp_url", "mail_from")


@contextmanager
def opened_desk(settings: Settings) -> Iterator[Desk]:
    """Give the use cases about people on the database of the settings."""
    from knownface.app import open_store

    store = open_store(settings)
    try:
        with desk_on(store, settings) as desk:
            yield desk
    finally:
        store.close()


@contextmanager
def desk_on(store: Store, settings: Settings) -> Iterator[Desk]:
    """Give the use cases about people on a database that is open; mails are sent at the end."""
    from knownface.app import open_desk

    desk = open_desk(store, settings)
    try:
        yield desk
    finally:
        desk.close()


def links_base(settings: Settings) -> str:
    """Return what links to this server begin with."""
    return settings.public_url or f"http://localhost:{settings.port}"


def user_document(found: User) -> dict[str, object]:
    """Return what programs are told of a user."""
    return {
        "id": found.id,
        "email": found.email,
        "first_name": found.first_name,
        "last_name": found.last_name,
        "role": found.role.name,
        "created_at": moment(found.created_at),
    }


def invitation_document(found: Invitation) -> dict[str, object]:
    """Return what programs are told of an invitation, besides its link."""
    return {
        "id": found.id,
        "email": found.email,
        "role": found.role.name,
        "application": found.application,
        "expires_at": moment(found.expires_at),
    }
