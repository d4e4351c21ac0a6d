"""Invitations: ways in for those who have no account yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knownface.errors import (
    ApplicationNotFound,
    EmailTaken,
    Forbidden,
    LinkExpired,
    NotFound,
    NotPossible,
)
from knownface.identity.links import INVITATION, INVITATION_LASTS, new_link
from knownface.identity.passwords import digest, usable_email
from knownface.people import Actor, Invitation, Right, Role

if TYPE_CHECKING:
    from knownface.mail import Mailer
    from knownface.store import Store, Transaction


class Invitations:
    """The invitations of one Store."""

    def __init__(self, store: Store, mailer: Mailer, registration: str) -> None:
        self._store = store
        self._mailer = mailer
        self._registration = registration

    def invite(
        self,
        actor: Actor | None,
        base: str,
        email: str | None,
        role: Role,
        application_id: int | None = None,
    ) -> tuple[Invitation, str]:
        """Make an invitation and return it with its link below the address `base`.

        It is mailed where an address is given and mail is set up. Raises Forbidden,
        ApplicationNotFound for one that the actor does not see, UnusableEmail, EmailTaken, and
        NotPossible for an owner, and where nobody may sign up. A program makes no administrators
        of the server (Forbidden): the account would outlive its token.
        """
        if role is Role.OWNER:
            raise NotPossible("Nobody is invited as an owner: hand the role over afterwards.")
        if self._registration == "closed":
            raise NotPossible("registration is closed: `knownface user create` makes accounts.")
        address = None if email is None else usable_email(email)
        link, kept = new_link(INVITATION, base)
        with self._store.begin() as tx:
            _refuse_inviting(tx, actor, application_id)
            if actor and actor.token is not None and not application_id and role is not Role.USER:
                raise Forbidden("An access token invites no administrators of the server: sign in.")
            if address and tx.user_by_email(address):
                raise EmailTaken
            inviter = actor.user.id if actor else None
            made = tx.add_invitation(kept, address, role, application_id, inviter, INVITATION_LASTS)
        if address:
            where = f"the application {made.application} of " if made.application else ""
            who = f"{actor.user.first_name} {actor.user.last_name}" if actor else "The operator"
            self._mailer.post(
                address,
                "Invitation to Knownface",
                f"{who} invites you to {where}this face recognition server:\n\n{link}\n\n"
                "The link can be used once, within 7 days.\n",
            )
        return made, link

    def list(self, actor: Actor | None) -> list[Invitation]:
        """Return the open invitations that the actor could make, oldest first."""
        with self._store.snapshot() as tx:
            if actor is None or actor.may(Right.MANAGE_USERS):
                return tx.invitations()
            own = tx.memberships(actor.user.id).items()
            return tx.invitations(
                [number for number, role in own if actor.may(Right.MANAGE_APPLICATION, role)]
            )

    def withdraw(self, actor: Actor | None, invitation_id: int) -> None:
        """Take an invitation back; NotFound for one that the actor could not make."""
        with self._store.begin() as tx:
            found = tx.invitation(invitation_id)
            if found is None or not may_invite(tx, actor, found.application_id):
                raise NotFound("There is no such invitation.")
            tx.remove_invitation(invitation_id)

    def look(self, token: str) -> Invitation:
        """Return what the holder of a link is invited to (LinkExpired)."""
        with self._store.snapshot() as tx:
            return usable_invitation(tx, token)

    def accept(self, actor: Actor, token: str) -> Invitation:
        """Let somebody who has an account join the application of an invitation.

        LinkExpired; NotPossible where it leads to no application or is meant for somebody else.
        """
        with self._store.begin() as tx:
            found = usable_invitation(tx, token)
            if found.email not in (None, actor.user.email):
                raise NotPossible(f"This invitation is for {found.email}.")
            if found.application_id is None:
                raise NotPossible("You have an account already.")
            use_up(tx, found, actor.user.id)
        return found


def usable_invitation(tx: Transaction, token: str) -> Invitation:
    """Return the invitation of a link whose maker could still make it (LinkExpired)."""
    found = tx.invitation_by_digest(digest(INVITATION, token))
    if found is None:
        raise LinkExpired
    if found.invited_by is not None:
        inviter = Actor(tx.user(found.invited_by))
        if not may_invite(tx, inviter, found.application_id):
            raise LinkExpired
    return found


def use_up(tx: Transaction, invitation: Invitation, user_id: int) -> None:
    """Let a user into the application he was invited to, and nobody else by the same link.

    LinkExpired when somebody was faster.
    """
    if not tx.remove_invitation(invitation.id):
        raise LinkExpired
    application = invitation.application_id
    if application is not None and tx.membership(application, user_id) is None:
        tx.set_membership(application, user_id, invitation.role)


def may_invite(tx: Transaction, actor: Actor | None, application_id: int | None) -> bool:
    """Tell whether somebody may invite to an application, or with None to the server."""
    if actor is None:
        return True
    if application_id is None:
        return actor.may(Right.MANAGE_USERS)
    return actor.may(Right.MANAGE_APPLICATION, tx.membership(application_id, actor.user.id))


def _refuse_inviting(tx: Transaction, actor: Actor | None, application_id: int | None) -> None:
    if application_id is not None:
        membership = tx.membership(application_id, actor.user.id) if actor else None
        seen = actor is None or actor.may(Right.SEE, membership)
        if not seen or not tx.application_exists(application_id):
            raise ApplicationNotFound("There is no such application.")
    if not may_invite(tx, actor, application_id):
        raise Forbidden
