"""Who may do what with which application, looked up in the transaction that does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knownface.errors import (
    ApplicationNotFound,
    Forbidden,
    InvalidRequest,
    NotPossible,
    ServiceNotFound,
    UserNotFound,
)
from knownface.people import Actor, Right, Role, User
from knownface.store.names import normalized

if TYPE_CHECKING:
    from knownface.store import Transaction
    from knownface.store.overview import ApplicationInfo, ServiceInfo


def may(actor: Actor | None, right: Right, membership: Role | None = None) -> bool:
    """Tell whether somebody may do this on the server, or where `membership` is his role."""
    return actor is None or actor.may(right, membership)


def number(actor: Actor | None) -> int:
    """Return who is asked about as a member; nobody has the number of the operator."""
    return actor.user.id if actor else 0


def seen(tx: Transaction, actor: Actor | None, application_id: int) -> ApplicationInfo:
    """Return an application that he may see, else ApplicationNotFound."""
    return allowed_application(tx, actor, application_id, Right.SEE)


def allowed_application(
    tx: Transaction, actor: Actor | None, application_id: int, right: Right
) -> ApplicationInfo:
    """Return an application that he may do this in, else ApplicationNotFound or Forbidden."""
    found = tx.application_info(number(actor), application_id)
    if not may(actor, Right.SEE, found.role):
        raise ApplicationNotFound("There is no such application.")
    if not may(actor, right, found.role):
        raise Forbidden
    return found


def allowed_service(
    tx: Transaction, actor: Actor | None, service_id: int, right: Right
) -> ServiceInfo:
    """Return a service that he may do this with, else ServiceNotFound or Forbidden."""
    try:
        found = info_of(tx, service_id)
        allowed_application(tx, actor, found.application_id, right)
    except ApplicationNotFound:
        raise ServiceNotFound("There is no such service.") from None
    return found


def info_of(tx: Transaction, service_id: int) -> ServiceInfo:
    """Return a service (ServiceNotFound)."""
    found = tx.service_info(service_id)
    if found is None:
        raise ServiceNotFound("There is no such service.")
    return found


def role_of(tx: Transaction, application_id: int, user_id: int) -> Role:
    """Return what a member is in an application (UserNotFound)."""
    role = tx.membership(application_id, user_id)
    if role is None:
        raise UserNotFound("There is no such user in this application.")
    return role


def give(tx: Transaction, application_id: int, user_id: int, role: Role) -> None:
    """Give somebody a role in an application, of which there is one owner."""
    if role is Role.OWNER:
        for member in tx.members(application_id):
            if member.role is Role.OWNER and member.user.id != user_id:
                tx.set_membership(application_id, member.user.id, Role.ADMINISTRATOR)
    tx.set_membership(application_id, user_id, role)


def refuse_ownerless(present: Role, future: Role | None) -> None:
    """Raise NotPossible where an application would be left without the owner it has."""
    if present is Role.OWNER and future is not Role.OWNER:
        raise NotPossible(
            "The owner of an application cannot leave it or give up the role: "
            "make somebody else its owner first."
        )


def refuse_other_name(given: str, name: str, what: str) -> None:
    """Raise InvalidRequest unless somebody typed the name of what he wants to delete."""
    if normalized(given) != name:
        raise InvalidRequest(f"Nothing was deleted: give the {what}'s name, exactly as it is.")


def told(user: User) -> str:
    """Return what is searched for somebody."""
    return f"{user.first_name} {user.last_name} {user.email}"
