"""The tables about people: who they are, how they prove it, and where they belong.

    person ─┬─ session
            ├─ access_token
            ├─ password_reset
            ├─ invitation ──── application
            └─ membership ──── application
    sign_in_failure
    secret

What lets somebody in (session, token, link) is kept as a digest only.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from knownface.store.tables import Id, UtcDateTime, metadata

_ROLES = "role IN ('owner', 'administrator', 'user')"
_OWNER = text("role = 'owner'")


def _number() -> Column[int]:
    return Column("id", Id, Identity(), primary_key=True)


def _of_person() -> Column[int]:
    return Column("user_id", Id, ForeignKey("person.id", ondelete="CASCADE"), nullable=False)


# "user" is a word of SQL.
person = Table(
    "person",
    metadata,
    _number(),
    Column("email", Text, nullable=False, unique=True),  # lower case
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    # None for those who sign in with another server's word alone.
    Column("password_hash", Text),
    # By what name the OpenID Connect provider knows the person.
    Column("oidc_issuer", Text),
    Column("oidc_subject", Text),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("oidc_issuer", "oidc_subject"),
    CheckConstraint(_ROLES, name="role"),
    # The server has one owner at most, whoever signs up at the same moment.
    Index("ix_person_owner", "role", unique=True, sqlite_where=_OWNER, postgresql_where=_OWNER),
    sqlite_autoincrement=True,
)

membership = Table(
    "membership",
    metadata,
    Column(
        "application_id",
        Id,
        ForeignKey("application.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column(
        "user_id",
        Id,
        ForeignKey("person.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("role", String(16), nullable=False),
    CheckConstraint(_ROLES, name="role"),
    Index(None, "user_id"),
    Index(
        "ix_membership_owner",
        "application_id",
        unique=True,
        sqlite_where=_OWNER,
        postgresql_where=_OWNER,
    ),
)

session = Table(
    "session",
    metadata,
    _number(),
    _of_person(),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index(None, "user_id"),
    sqlite_autoincrement=True,
)

access_token = Table(
    "access_token",
    metadata,
    _number(),
    _of_person(),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Index(None, "user_id"),
    sqlite_autoincrement=True,
)

password_reset = Table(
    "password_reset",
    metadata,
    _number(),
    _of_person(),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("expires_at", UtcDateTime, nullable=False),
    Index(None, "user_id"),
    sqlite_autoincrement=True,
)

# The role is one on the server where no application is named, else one there. Who was invited by
# nobody was invited from the command line.
invitation = Table(
    "invitation",
    metadata,
    _number(),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("email", Text),
    Column("role", String(16), nullable=False),
    Column("application_id", Id, ForeignKey("application.id", ondelete="CASCADE")),
    Column("invited_by", Id, ForeignKey("person.id", ondelete="CASCADE")),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    CheckConstraint(_ROLES, name="role"),
    Index(None, "application_id"),
    Index(None, "invited_by"),
    sqlite_autoincrement=True,
)

# Of accounts and addresses there are digests only: people type passwords into the wrong field.
sign_in_failure = Table(
    "sign_in_failure",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("blocked_until", UtcDateTime),
    Index(None, "last_at"),
)

secret = Table(
    "secret",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
