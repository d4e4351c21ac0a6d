"""People and what lets them in, as JSON."""

from __future__ import annotations

from datetime import UTC, datetime

from knownface.api.wire import Json
from knownface.people import AccessToken, Actor, Invitation, Session, User


def moment(value: datetime | None) -> str | None:
    """Return a moment as ISO 8601 in UTC, None for none."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def user(value: User) -> Json:
    return {
        "id": value.id,
        "email": value.email,
        "first_name": value.first_name,
        "last_name": value.last_name,
        "role": value.role.name,
        "created_at": moment(value.created_at),
    }


def session(value: Session, actor: Actor) -> Json:
    return {
        "id": value.id,
        "created_at": moment(value.created_at),
        "last_seen_at": moment(value.last_seen_at),
        "address": value.address,
        "agent": value.agent,
        "current": value.id == actor.session,
    }


def token(value: AccessToken) -> Json:
    return {
        "id": value.id,
        "name": value.name,
        "created_at": moment(value.created_at),
        "expires_at": moment(value.expires_at),
        "last_used_at": moment(value.last_used_at),
    }


def invitation(value: Invitation) -> Json:
    return {
        "id": value.id,
        "email": value.email,
        "role": value.role.name,
        "application_id": value.application_id,
        "application": value.application,
        "invited_by": value.invited_by,
        "created_at": moment(value.created_at),
        "expires_at": moment(value.expires_at),
    }
