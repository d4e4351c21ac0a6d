"""What lets people in: sessions, access tokens, links; and what keeps guessers out.

Each of them is found by the digest of a secret that only its holder has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Table, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from knownface.people import AccessToken, Invitation, Role, Session
from knownface.store.people_tables import (
    access_token,
    invitation,
    password_reset,
    secret,
    session,
    sign_in_failure,
)
from knownface.store.queries import Queries, now
from knownface.store.tables import application

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

_sessions = select(
    session.c.id,
    session.c.user_id,
    session.c.address,
    session.c.agent,
    session.c.created_at,
    session.c.last_seen_at,
    session.c.expires_at,
)
_tokens = select(
    access_token.c.id,
    access_token.c.user_id,
    access_token.c.name,
    access_token.c.created_at,
    access_token.c.expires_at,
    access_token.c.last_used_at,
)
_invitations = select(
    invitation.c.id,
    invitation.c.email,
    invitation.c.role,
    invitation.c.application_id,
    application.c.name.label("application"),
    invitation.c.invited_by,
    invitation.c.created_at,
    invitation.c.expires_at,
).join_from(invitation, application, isouter=True)


@dataclass(frozen=True, slots=True)
class Failures:
    """How often somebody was refused lately, and until when he is not even listened to."""

    count: int
    blocked_until: datetime | None


class Credentials(Queries):
    """What lets people in, by digests."""

    # Sessions

    def add_session(
        self, user_id: int, digest: bytes, address: str, agent: str, lasting: timedelta
    ) -> Session:
        """Let the holder of a secret be this person for a while."""
        moment = now()
        values = {
            "user_id": user_id,
            "digest": digest,
            "address": address,
            "agent": agent,
            "created_at": moment,
            "last_seen_at": moment,
            "expires_at": moment + lasting,
        }
        number = self.connection.execute(
            session.insert().values(values).returning(session.c.id)
        ).scalar_one()
        return Session(number, user_id, address, agent, moment, moment, moment + lasting)

    def session_by_digest(self, digest: bytes) -> Session | None:
        """The one that this secret opens, unless its time is over."""
        row = self.connection.execute(
            _sessions.where(session.c.digest == digest, session.c.expires_at > now())
        ).one_or_none()
        return None if row is None else Session(*row)

    def prolong_session(self, session_id: int, address: str, lasting: timedelta) -> None:
        """Note that a session is in use, and count its time from now on."""
        moment = now()
        self.connection.execute(
            update(session)
            .where(session.c.id == session_id)
            .values(address=address, last_seen_at=moment, expires_at=moment + lasting)
        )

    def sessions(self, user_id: int) -> list[Session]:
        """Where somebody is signed in, last seen first."""
        rows = self.connection.execute(
            _sessions.where(session.c.user_id == user_id, session.c.expires_at > now()).order_by(
                session.c.last_seen_at.desc(), session.c.id.desc()
            )
        )
        return [Session(*row) for row in rows]

    def end_session(self, user_id: int, session_id: int) -> bool:
        """End one session of somebody; False if there is none of that number."""
        return self._remove(session, session.c.id == session_id, session.c.user_id == user_id)

    def end_sessions(self, user_id: int, but: int | None = None) -> None:
        """End every session of somebody, save one."""
        which = [session.c.user_id == user_id]
        if but is not None:
            which.append(session.c.id != but)
        self._remove(session, *which)

    # Access tokens

    def add_token(
        self, user_id: int, digest: bytes, name: str, expires_at: datetime | None
    ) -> AccessToken:
        """Let a program that has this secret act as somebody."""
        moment = now()
        number = self.connection.execute(
            access_token.insert()
            .values(
                user_id=user_id, digest=digest, name=name, created_at=moment, expires_at=expires_at
            )
            .returning(access_token.c.id)
        ).scalar_one()
        return AccessToken(number, user_id, name, moment, expires_at, None)

    def token_by_digest(self, digest: bytes) -> AccessToken | None:
        """The one of that secret, unless its time is over."""
        valid = or_(access_token.c.expires_at.is_(None), access_token.c.expires_at > now())
        row = self.connection.execute(
            _tokens.where(access_token.c.digest == digest, valid)
        ).one_or_none()
        return None if row is None else AccessToken(*row)

    def note_token_use(self, token_id: int) -> None:
        """Note that a token was used just now."""
        self.connection.execute(
            update(access_token).where(access_token.c.id == token_id).values(last_used_at=now())
        )

    def tokens(self, user_id: int) -> list[AccessToken]:
        """The access tokens of somebody, oldest first, those whose time is over included."""
        rows = self.connection.execute(
            _tokens.where(access_token.c.user_id == user_id).order_by(access_token.c.id)
        )
        return [AccessToken(*row) for row in rows]

    def remove_token(self, user_id: int, token_id: int) -> bool:
        """Take a token of somebody back; False if there is none of that number."""
        return self._remove(
            access_token, access_token.c.id == token_id, access_token.c.user_id == user_id
        )

    def remove_tokens(self, user_id: int) -> None:
        """Take every token of somebody back."""
        self._remove(access_token, access_token.c.user_id == user_id)

    # Links to choose a new password

    def add_reset(self, user_id: int, digest: bytes, lasting: timedelta) -> None:
        """Let the holder of a secret choose a password; older links of somebody end."""
        self.remove_resets(user_id)
        self.connection.execute(
            password_reset.insert().values(
                user_id=user_id, digest=digest, expires_at=now() + lasting
            )
        )

    def reset_by_digest(self, digest: bytes) -> int | None:
        """Whose password the holder of this secret may choose, by number."""
        found: int | None = self.connection.execute(
            select(password_reset.c.user_id).where(
                password_reset.c.digest == digest, password_reset.c.expires_at > now()
            )
        ).scalar_one_or_none()
        return found

    def remove_resets(self, user_id: int) -> None:
        """End the links by which somebody may choose a password."""
        self._remove(password_reset, password_reset.c.user_id == user_id)

    # Invitations

    def add_invitation(
        self,
        digest: bytes,
        email: str | None,
        role: Role,
        application_id: int | None,
        invited_by: int | None,
        lasting: timedelta,
    ) -> Invitation:
        """Let the holder of a secret make an account."""
        moment = now()
        number = self.connection.execute(
            invitation.insert()
            .values(
                digest=digest,
                email=email,
                role=role.value,
                application_id=application_id,
                invited_by=invited_by,
                created_at=moment,
                expires_at=moment + lasting,
            )
            .returning(invitation.c.id)
        ).scalar_one()
        row = self.connection.execute(_invitations.where(invitation.c.id == number)).one()
        return _invitation(row)

    def invitation_by_digest(self, digest: bytes) -> Invitation | None:
        """The one of that secret, unless its time is over."""
        row = self.connection.execute(
            _invitations.where(invitation.c.digest == digest, invitation.c.expires_at > now())
        ).one_or_none()
        return None if row is None else _invitation(row)

    def invitation(self, invitation_id: int) -> Invitation | None:
        """The one of that number, unless its time is over."""
        row = self.connection.execute(
            _invitations.where(invitation.c.id == invitation_id, invitation.c.expires_at > now())
        ).one_or_none()
        return None if row is None else _invitation(row)

    def invitations(self, applications: Sequence[int] | None = None) -> list[Invitation]:
        """Those that can still be used, oldest first: all, or the ones to these applications."""
        statement = _invitations.where(invitation.c.expires_at > now())
        if applications is not None:
            statement = statement.where(invitation.c.application_id.in_(applications))
        rows = self.connection.execute(statement.order_by(invitation.c.id))
        return [_invitation(row) for row in rows]

    def remove_invitation(self, invitation_id: int) -> bool:
        """Take one back, or use it up; False when somebody else did so before."""
        return self._remove(invitation, invitation.c.id == invitation_id)

    # Guessers

    def count_failure(self, digest: bytes, quiet: timedelta) -> int:
        """Count one more failure, and return how many came without a quiet time this long."""
        moment = now()
        stale = sign_in_failure.c.last_at < moment - quiet
        self._remove(sign_in_failure, sign_in_failure.c.digest == digest, stale)
        own = sqlite.insert if self.connection.dialect.name == "sqlite" else postgresql.insert
        count: int = self.connection.execute(
            own(sign_in_failure)
            .values(digest=digest, failures=1, last_at=moment)
            .on_conflict_do_update(
                index_elements=[sign_in_failure.c.digest],
                set_={"failures": sign_in_failure.c.failures + 1, "last_at": moment},
            )
            .returning(sign_in_failure.c.failures)
        ).scalar_one()
        return count

    def failures(self, digest: bytes) -> Failures:
        """How often this account or address was refused lately."""
        row = self.connection.execute(
            select(sign_in_failure.c.failures, sign_in_failure.c.blocked_until).where(
                sign_in_failure.c.digest == digest
            )
        ).one_or_none()
        return Failures(0, None) if row is None else Failures(row.failures, row.blocked_until)

    def block(self, digest: bytes, until: datetime) -> None:
        """Do not listen to this account or address until then."""
        self.connection.execute(
            update(sign_in_failure)
            .where(sign_in_failure.c.digest == digest)
            .values(blocked_until=until)
        )

    def take_back_failure(self, digest: bytes) -> None:
        """Undo one counting of a failure that turned out to be none."""
        self.connection.execute(
            update(sign_in_failure)
            .where(sign_in_failure.c.digest == digest, sign_in_failure.c.failures > 0)
            .values(failures=sign_in_failure.c.failures - 1, blocked_until=None)
        )

    def forget_failures(self, digest: bytes) -> None:
        """Begin anew for this account or address."""
        self._remove(sign_in_failure, sign_in_failure.c.digest == digest)

    def forget_old(self, quiet: timedelta) -> None:
        """Remove what has expired, and failures after which nothing came for this long."""
        moment = now()
        for table in (session, password_reset, invitation):
            self._remove(table, table.c.expires_at < moment)
        self._remove(sign_in_failure, sign_in_failure.c.last_at < moment - quiet)

    # The server's own

    def secret(self, name: str) -> bytes | None:
        """A secret of the server, None before there is one."""
        found: bytes | None = self.connection.execute(
            select(secret.c.value).where(secret.c.name == name)
        ).scalar_one_or_none()
        return found

    def keep_secret(self, name: str, value: bytes) -> bytes:
        """Keep a secret unless there is one of that name, and return the one that is kept."""
        own = sqlite.insert if self.connection.dialect.name == "sqlite" else postgresql.insert
        self.connection.execute(own(secret).values(name=name, value=value).on_conflict_do_nothing())
        kept = self.secret(name)
        return value if kept is None else kept

    def _remove(self, table: Table, *which: ColumnElement[bool]) -> bool:
        return self.connection.execute(delete(table).where(*which)).rowcount > 0


def _invitation(row: Row[*tuple[object, ...]]) -> Invitation:
    return Invitation(
        row.id,
        row.email,
        Role(row.role),
        row.application_id,
        row.application,
        row.invited_by,
        row.created_at,
        row.expires_at,
    )
