"""People who administer the server: their roles, and what each role may do.

Everybody has a role on the whole server and at most one more in each application; what somebody may
do there is what both of them allow together.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final


class Role(enum.StrEnum):
    """What somebody is, on the whole server or in one application."""

    OWNER = "owner"
    ADMINISTRATOR = "administrator"
    USER = "user"


class Right(enum.StrEnum):
    """What somebody may do, on the whole server or in one application."""

    SEE = "see"  # an application and its services
    CREATE_APPLICATION = "create application"
    MANAGE_APPLICATION = "manage application"  # its name, its members and their roles, its end
    MANAGE_SERVICES = "manage services"  # make, rename, clone and delete them; keys and settings
    USE_SERVICES = "use services"  # try them, and change their face collections
    MANAGE_USERS = "manage users"  # roles on the server, deletion, invitations to the server
    SEE_SYSTEM = "see system"


_EVERYTHING: Final = frozenset(Right)
_ON_THE_SERVER: Final = {
    Role.OWNER: _EVERYTHING,
    Role.ADMINISTRATOR: _EVERYTHING,
    Role.USER: frozenset[Right](),
}
_IN_AN_APPLICATION: Final = {
    Role.OWNER: frozenset(
        {Right.SEE, Right.USE_SERVICES, Right.MANAGE_SERVICES, Right.MANAGE_APPLICATION}
    ),
    Role.ADMINISTRATOR: frozenset({Right.SEE, Right.USE_SERVICES, Right.MANAGE_SERVICES}),
    Role.USER: frozenset({Right.SEE, Right.USE_SERVICES}),
}


def rights(role: Role, membership: Role | None = None) -> frozenset[Right]:
    """Return what somebody of this role may do on the server, or in the application of which
    `membership` is his role.
    """
    here = frozenset[Right]() if membership is None else _IN_AN_APPLICATION[membership]
    return _ON_THE_SERVER[role] | here


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account; `role` is the one on the whole server, `email` is lower case."""

    id: int
    email: str
    first_name: str
    last_name: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something, and through which session or access token, by its number."""

    user: User
    session: int | None = None
    token: int | None = None

    def may(self, right: Right, membership: Role | None = None) -> bool:
        """Tell whether he may do this on the server, or where `membership` is his role."""
        return right in rights(self.user.role, membership)


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which somebody is signed in."""

    id: int
    user_id: int
    address: str
    agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What lets a program act as somebody; the token itself is known to nobody but its holder."""

    id: int
    user_id: int
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """A way in for somebody without an account.

    `role` is the one in the application, or where there is none, the one on the whole server.
    """

    id: int
    email: str | None
    role: Role
    application_id: int | None
    application: str | None
    invited_by: int | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who belongs to an application, and his role there."""

    user: User
    role: Role


@dataclass(frozen=True, slots=True)
class UserPage:
    """One page of users, by name, and how many there are in all."""

    users: tuple[User, ...]
    number: int
    size: int
    total: int
