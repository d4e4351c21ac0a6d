"""Users as others see them: who sees whom, roles on the server, and the end of an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from knownface.errors import EmailTaken, Forbidden, NotPossible, UserNotFound
from knownface.identity.links import HANDED_RESET_LASTS, RESET, new_link
from knownface.identity.passwords import hashed, usable_email, usable_name, usable_password
from knownface.people import Actor, Right, Role, User, UserPage
from knownface.store.people import Newcomer

if TYPE_CHECKING:
    from knownface.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class Profile:
    """A user, and the names of the applications he owns, None where that is not to be seen."""

    user: User
    owns: tuple[str, ...] | None


class Users:
    """The users of one Store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self, actor: Actor | None, search: str, page: int, size: int) -> UserPage:
        """Return the users that the actor sees: all, or those he shares an application with."""
        beside = None if _manages(actor) or actor is None else actor.user.id
        with self._store.snapshot() as tx:
            return tx.users(search, page, size, beside=beside)

    def profile(self, actor: Actor | None, user_id: int) -> Profile:
        """Return one user (UserNotFound for whom the actor does not see)."""
        with self._store.snapshot() as tx:
            user = _seen(tx, actor, user_id)
            shown = _manages(actor) or (actor is not None and actor.user.id == user_id)
            return Profile(user, tuple(tx.owned(user_id).values()) if shown else None)

    def by_email(self, email: str) -> User:
        """Return the user of an address, for the operator (UserNotFound)."""
        with self._store.snapshot() as tx:
            found = tx.user_by_email(email.strip().lower())
        if found is None:
            raise UserNotFound(f"There is no user {email}.")
        return found

    def create(
        self, email: str, first_name: str, last_name: str, password: str | None, role: Role
    ) -> User:
        """Make an account at the operator's word; without a password it needs a link to set one.

        An owner is made only where there is none. Raises EmailTaken, NotPossible, and
        InvalidRequest for what cannot be used.
        """
        email = usable_email(email)
        first, last = usable_name(first_name, "first name"), usable_name(last_name, "last name")
        kept = None if password is None else hashed(usable_password(password, email))
        with self._store.begin() as tx:
            made = tx.add_user(Newcomer(email, first, last, role, kept))
            if made is None and tx.user_by_email(email):
                raise EmailTaken
        if made is None:
            raise NotPossible("The server has an owner already: choose another role.")
        return made

    def set_password(self, user_id: int, password: str) -> User:
        """Give a user another password at the operator's word, and sign him out everywhere.

        Links to choose one are void from then on. UserNotFound, InvalidRequest.
        """
        with self._store.snapshot() as tx:
            usable_password(password, tx.user(user_id).email)
        kept = hashed(password)
        with self._store.begin() as tx:
            user = tx.user(user_id, lock=True)
            tx.set_password_hash(user_id, kept)
            tx.end_sessions(user_id)
            tx.remove_resets(user_id)
        return user

    def set_role(self, actor: Actor | None, user_id: int, role: Role) -> User:
        """Change a user's role on the server.

        Who makes another the owner becomes an administrator himself. UserNotFound, Forbidden,
        NotPossible.
        """
        with self._store.begin() as tx:
            user = _managed(tx, actor, user_id)
            if user.role is role:
                return user
            if role is Role.OWNER:
                _hand_over(tx, actor, user)
            elif user.role is Role.OWNER:
                raise NotPossible("Make somebody else the owner: that makes you an administrator.")
            else:
                tx.set_role(user_id, role)
            return tx.user(user_id)

    def delete(self, actor: Actor | None, user_id: int, *, to_owner: bool) -> None:
        """Erase a user; applications that he owned pass to the actor or to the server's owner.

        Anybody may delete himself. UserNotFound, Forbidden; NotPossible for the server's owner.
        """
        with self._store.begin() as tx:
            themselves = actor is not None and actor.user.id == user_id
            user = tx.user(user_id) if themselves else _managed(tx, actor, user_id)
            if user.role is Role.OWNER:
                raise NotPossible("The owner cannot be deleted: hand the role over before.")
            heir = tx.owner() if to_owner or themselves or actor is None else actor.user
            for application in tx.owned(user_id):
                tx.remove_membership(application, user_id)
                if heir is not None:
                    tx.set_membership(application, heir.id, Role.OWNER)
            tx.delete_user(user_id)

    def reset_link(self, actor: Actor | None, base: str, user_id: int) -> str:
        """Return a link with which another user can choose a password.

        UserNotFound, NotPossible for oneself; Forbidden for a program too, whose token could
        otherwise become the account of whoever it was made by.
        """
        link, kept = new_link(RESET, base)
        with self._store.begin() as tx:
            user = _managed(tx, actor, user_id)
            if actor is not None and actor.token is not None:
                raise Forbidden("An access token resets no passwords: sign in.")
            if actor is not None and actor.user.id == user_id:
                raise NotPossible(
                    "Nobody resets his own password this way: change it in the profile, by PUT "
                    "/admin/api/me/password, or ask for a link where you sign in."
                )
            if user.role is Role.OWNER and actor is not None:
                raise Forbidden("Only the operator can reset the owner's password.")
            tx.add_reset(user_id, kept, HANDED_RESET_LASTS)
        return link


def _manages(actor: Actor | None) -> bool:
    return actor is None or actor.may(Right.MANAGE_USERS)


def _seen(tx: Transaction, actor: Actor | None, user_id: int, *, lock: bool = False) -> User:
    user = tx.user(user_id, lock=lock)
    if (
        actor is not None
        and not _manages(actor)
        and not tx.share_application(actor.user.id, user_id)
    ):
        raise UserNotFound
    return user


def _managed(tx: Transaction, actor: Actor | None, user_id: int) -> User:
    """Return a user whom the actor may change (UserNotFound, Forbidden)."""
    user = _seen(tx, actor, user_id, lock=True)
    if not _manages(actor):
        raise Forbidden
    if user.role is Role.OWNER and actor is not None and actor.user.role is not Role.OWNER:
        raise Forbidden("Only the owner can change the owner.")
    return user


def _hand_over(tx: Transaction, actor: Actor | None, user: User) -> None:
    owner = tx.owner()
    if owner is not None:
        owner = tx.user(owner.id, lock=True)
        if actor is not None and actor.user.id != owner.id:
            raise Forbidden("Only the owner can make another user the owner.")
        if owner.role is Role.OWNER:
            tx.set_role(owner.id, Role.ADMINISTRATOR)
    elif actor is not None:
        raise Forbidden("Only the owner can make another user the owner.")
    tx.set_role(user.id, Role.OWNER)
