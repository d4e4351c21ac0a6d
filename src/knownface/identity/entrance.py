"""The entrance: signing up and in, sessions and passwords."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from knownface.errors import (
    EmailTaken,
    Forbidden,
    LinkExpired,
    NotFound,
    NotPossible,
    WrongCredentials,
    WrongPassword,
)
from knownface.identity.invitations import usable_invitation, use_up
from knownface.identity.links import MAILED_RESET_LASTS, RESET, new_link
from knownface.identity.passwords import (
    LONGEST_NAME,
    NOTED_AFTER,
    digest,
    fits,
    hashed,
    new_secret,
    outdated,
    usable_email,
    usable_name,
    usable_password,
)
from knownface.identity.throttle import LONGEST_QUIET, MAIL, Throttle
from knownface.people import Actor, Invitation, Role, Session, User
from knownface.store.people import Newcomer

if TYPE_CHECKING:
    from knownface.mail import Mailer
    from knownface.signing import Signer
    from knownface.store import Store, Transaction

SESSION_LASTS: Final = timedelta(days=14)  # since it was last used
_SESSION: Final = "session"
_LONGEST_AGENT: Final = 300


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request comes from: its network address, and the name of its program."""

    address: str
    agent: str = ""


@dataclass(frozen=True, slots=True)
class SignUp:
    """What somebody says of himself to get an account."""

    email: str
    first_name: str
    last_name: str
    password: str
    invitation: str | None = None


@dataclass(frozen=True, slots=True)
class External:
    """What a provider of OpenID Connect says of somebody."""

    issuer: str
    subject: str
    email: str
    email_verified: bool
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class WaysIn:
    """How somebody may sign in: with a password, by the word of a provider."""

    password: bool
    oidc: bool


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who just came in: his cookie, and the token that goes with it."""

    user: User
    cookie: str
    csrf_token: str


class Identity:
    """Who is behind a request, in one Store."""

    def __init__(
        self, store: Store, signer: Signer, mailer: Mailer, *, registration: str, public_url: str
    ) -> None:
        self._store = store
        self._signer = signer
        self._mailer = mailer
        self._throttle = Throttle(store)
        self.registration = registration
        self._public_url = public_url

    @property
    def mails(self) -> bool:
        """Whether links reach people by mail."""
        return self._mailer.available

    def owner_exists(self) -> bool:
        """Tell whether somebody owns the server; until then the next one to sign up will."""
        with self._store.snapshot() as tx:
            return tx.owner() is not None

    # In and out

    def sign_up(self, asked: SignUp, place: Place) -> SignedIn:
        """Make an account and sign in.

        The first one owns the server. Later Forbidden without an invitation, unless registration is
        open; LinkExpired, EmailTaken, TooManyAttempts, and InvalidRequest for what cannot be used.
        """
        email = usable_email(asked.email)
        first = usable_name(asked.first_name, "first name")
        last = usable_name(asked.last_name, "last name")
        password = usable_password(asked.password, email)
        attempt = self._throttle.attempt(None, place.address)
        with self._store.snapshot() as tx:  # before the hash, which is dear
            self._admission(tx, email, asked.invitation)
        newcomer = Newcomer(email, first, last, Role.USER, hashed(password))
        with self._store.begin() as tx:
            user = self._admit(tx, newcomer, asked.invitation)
            attempt.succeeded(tx)
            return self._enter(tx, user, place)

    def sign_in(self, email: str, password: str, place: Place) -> SignedIn:
        """Sign in with a password (WrongCredentials, TooManyAttempts)."""
        email = email.strip().lower()
        attempt = self._throttle.attempt(email, place.address)
        user, kept = self._known(email)
        if not fits(password, kept) or user is None or kept is None:
            raise WrongCredentials
        again = hashed(password) if outdated(kept) else None
        with self._store.begin() as tx:
            attempt.succeeded(tx)
            if again:
                tx.set_password_hash(user.id, again)
            return self._enter(tx, tx.user(user.id), place)

    def sign_in_external(
        self, external: External, place: Place, invitation: str | None = None
    ) -> SignedIn:
        """Sign in somebody whom a provider vouches for, who gets an account if he may sign up.

        An account without a password and with this e-mail address is taken for his, if the provider
        has verified that it is. Forbidden, LinkExpired; NotPossible for an account with a password,
        in which whoever made it should sign in and connect the two.
        """
        with self._store.begin() as tx:
            user = tx.user_by_oidc(external.issuer, external.subject)
            if user is None:
                user = self._adopt(tx, external, invitation)
            return self._enter(tx, user, place)

    def connect(self, actor: Actor, external: External) -> None:
        """Let a provider's word be enough to sign in (NotPossible when it is another user's)."""
        with self._store.begin() as tx:
            other = tx.user_by_oidc(external.issuer, external.subject)
            if other is not None and other.id != actor.user.id:
                raise NotPossible("Another user of this server signs in with that account.")
            tx.set_oidc(actor.user.id, external.issuer, external.subject)

    def disconnect(self, actor: Actor) -> None:
        """Let no provider's word be enough any more (NotPossible without a password)."""
        with self._store.begin() as tx:
            if tx.password_hash(actor.user.id) is None:
                raise NotPossible("Choose a password first: there would be no way to sign in.")
            tx.set_oidc(actor.user.id, None, None)

    def ways_in(self, actor: Actor) -> WaysIn:
        """Return how the actor may sign in."""
        with self._store.snapshot() as tx:
            password = tx.password_hash(actor.user.id) is not None
            return WaysIn(password, tx.has_oidc(actor.user.id))

    def actor_by_cookie(self, cookie: str, address: str) -> Actor | None:
        """Return who sent a cookie; None when it is not, or no longer, valid."""
        secret = self._signer.open(_SESSION, cookie)
        if secret is None:
            return None
        with self._store.snapshot() as tx:
            session = tx.session_by_digest(digest(_SESSION, secret))
            if session is None:
                return None
            user = tx.user(session.user_id)
        if datetime.now(UTC) - session.last_seen_at > NOTED_AFTER:
            with self._store.begin() as tx:
                tx.prolong_session(session.id, address, SESSION_LASTS)
        return Actor(user, session=session.id)

    def csrf_token(self, cookie: str) -> str:
        """Return what a page has to send besides its cookie when it changes anything."""
        return self._signer.mac("csrf", self._signer.open(_SESSION, cookie) or "")

    def sign_out(self, actor: Actor) -> None:
        """End the session that the actor came through."""
        if actor.session is not None:
            with self._store.begin() as tx:
                tx.end_session(actor.user.id, actor.session)

    def sessions(self, actor: Actor) -> list[Session]:
        """Return where the actor is signed in, last seen first."""
        with self._store.snapshot() as tx:
            return tx.sessions(actor.user.id)

    def end_session(self, actor: Actor, session_id: int) -> None:
        """Sign the actor out in another place (NotFound)."""
        with self._store.begin() as tx:
            if not tx.end_session(actor.user.id, session_id):
                raise NotFound("There is no such session.")

    # Oneself

    def rename(self, actor: Actor, first_name: str, last_name: str) -> User:
        """Change the actor's names (InvalidRequest)."""
        first, last = usable_name(first_name, "first name"), usable_name(last_name, "last name")
        with self._store.begin() as tx:
            tx.set_names(actor.user.id, first, last)
            return tx.user(actor.user.id)

    def change_password(self, actor: Actor, old: str, new: str, place: Place) -> None:
        """Change the actor's password, and sign him out everywhere else.

        WrongPassword, TooManyAttempts, InvalidRequest.
        """
        user = actor.user
        usable_password(new, user.email)
        attempt = self._throttle.attempt(user.email, place.address)
        with self._store.snapshot() as tx:
            kept = tx.password_hash(user.id)
        if kept is None:
            raise NotPossible("You have no password here. Ask for a link to choose one.")
        if not fits(old, kept):
            raise WrongPassword
        again = hashed(new)
        with self._store.begin() as tx:
            attempt.succeeded(tx)
            tx.set_password_hash(user.id, again)
            tx.end_sessions(user.id, but=actor.session)
            tx.remove_resets(user.id)

    def request_reset(self, email: str, place: Place) -> None:
        """Mail a link to choose a new password, if there is such an account; tell nobody whether.

        TooManyAttempts.
        """
        email = email.strip().lower()
        self._throttle.attempt(email, place.address, MAIL)
        link, kept = new_link(RESET, self._public_url)
        with self._store.begin() as tx:
            user = tx.user_by_email(email) if self._mailer.available else None
            if user is not None:
                tx.add_reset(user.id, kept, MAILED_RESET_LASTS)
        if user is not None:
            self._mailer.post(
                user.email,
                "A new password for Knownface",
                f"Choose a new password within an hour:\n\n{link}\n\n"
                "If you did not ask for this, do nothing: your password stays as it is.\n",
            )

    def reset(self, token: str, password: str, place: Place) -> None:
        """Choose a new password with a link, and end all sessions (LinkExpired, InvalidRequest)."""
        attempt = self._throttle.attempt(None, place.address)
        kept = digest(RESET, token)
        with self._store.snapshot() as tx:
            user = _resetting(tx, kept)
        again = hashed(usable_password(password, user.email))
        with self._store.begin() as tx:
            user = _resetting(tx, kept)
            tx.set_password_hash(user.id, again)
            tx.remove_resets(user.id)
            tx.end_sessions(user.id)
            attempt.succeeded(tx)
            self._throttle.pardon(tx, user.email)

    def _known(self, email: str) -> tuple[User | None, str | None]:
        with self._store.snapshot() as tx:
            user = tx.user_by_email(email)
            return user, None if user is None else tx.password_hash(user.id)

    def _admission(
        self, tx: Transaction, email: str, token: str | None
    ) -> tuple[Role, Invitation | None]:
        """Return as what a newcomer is let in, and by which invitation (Forbidden, LinkExpired)."""
        invitation = None
        first = tx.owner() is None
        if token and (first or self.registration != "closed"):
            invitation = usable_invitation(tx, token)
            if invitation.email not in (None, email):
                raise NotPossible(f"This invitation is for {invitation.email}.")
        if first:
            return Role.OWNER, invitation
        if invitation is None and self.registration != "open":
            raise Forbidden("Sign-up is closed: ask an administrator for an invitation.")
        on_server = invitation is not None and invitation.application_id is None
        return (invitation.role if invitation and on_server else Role.USER), invitation

    def _admit(self, tx: Transaction, newcomer: Newcomer, token: str | None) -> User:
        role, invitation = self._admission(tx, newcomer.email, token)
        user = tx.add_user(replace(newcomer, role=role))
        if user is None and tx.user_by_email(newcomer.email):
            raise EmailTaken
        if user is None:  # somebody else became the owner at this moment
            raise Forbidden("Sign-up is closed: ask an administrator for an invitation.")
        if invitation is not None:
            use_up(tx, invitation, user.id)
        return user

    def _adopt(self, tx: Transaction, external: External, token: str | None) -> User:
        email = usable_email(external.email)
        oidc = (external.issuer, external.subject)
        user = tx.user_by_email(email) if external.email_verified else None
        if user is not None:
            if tx.password_hash(user.id) is not None:
                raise NotPossible(
                    "This address has an account with a password: sign in with it, and connect the "
                    "two in the profile."
                )
            tx.set_oidc(user.id, *oidc)
            return user
        name = email.partition("@")[0][:LONGEST_NAME]
        first, last = external.first_name.strip() or name, external.last_name.strip() or "-"
        newcomer = Newcomer(
            email,
            usable_name(first[:LONGEST_NAME], "first name"),
            usable_name(last[:LONGEST_NAME], "last name"),
            Role.USER,
            oidc=oidc,
        )
        return self._admit(tx, newcomer, token)

    def _enter(self, tx: Transaction, user: User, place: Place) -> SignedIn:
        secret = new_secret()
        agent = place.agent[:_LONGEST_AGENT]
        tx.forget_old(LONGEST_QUIET)
        tx.add_session(user.id, digest(_SESSION, secret), place.address, agent, SESSION_LASTS)
        cookie = self._signer.seal(_SESSION, secret)
        return SignedIn(user, cookie, self.csrf_token(cookie))


def _resetting(tx: Transaction, kept: bytes) -> User:
    user_id = tx.reset_by_digest(kept)
    if user_id is None:
        raise LinkExpired
    return tx.user(user_id)
