"""People: accounts, how they sign in, where they belong, and the server's secret."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_moment = sa.DateTime(timezone=True)
_ROLES = "role IN ('owner', 'administrator', 'user')"


def upgrade() -> None:
    op.create_table(
        "person",
        _number(),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("first_name", sa.Text, nullable=False),
        sa.Column("last_name", sa.Text, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("oidc_issuer", sa.Text),
        sa.Column("oidc_subject", sa.Text),
        _at("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_person"),
        sa.UniqueConstraint("email", name="uq_person_email"),
        sa.UniqueConstraint(
            "oidc_issuer", "oidc_subject", name="uq_person_oidc_issuer_oidc_subject"
        ),
        sa.CheckConstraint(_ROLES, name=op.f("ck_person_role")),
        sqlite_autoincrement=True,
    )
    _one_owner("person", "role")
    op.create_table(
        "membership",
        sa.Column("application_id", _id, autoincrement=False, nullable=False),
        sa.Column("user_id", _id, autoincrement=False, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("application_id", "user_id", name="pk_membership"),
        _belongs("membership", "application_id", "application.id"),
        _belongs("membership", "user_id", "person.id"),
        sa.CheckConstraint(_ROLES, name=op.f("ck_membership_role")),
    )
    op.create_index("ix_membership_user_id", "membership", ["user_id"])
    _one_owner("membership", "application_id")
    _create_credentials()
    _create_invitation()
    op.create_table(
        "sign_in_failure",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        _at("last_at"),
        sa.Column("blocked_until", _moment),
        sa.PrimaryKeyConstraint("digest", name="pk_sign_in_failure"),
    )
    op.create_index("ix_sign_in_failure_last_at", "sign_in_failure", ["last_at"])
    op.create_table(
        "secret",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secret"),
    )


def _create_credentials() -> None:
    """Create what lets a person in."""
    _create_of_person(
        "session",
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        _at("created_at"),
        _at("last_seen_at"),
        _at("expires_at"),
    )
    _create_of_person(
        "access_token",
        sa.Column("name", sa.Text, nullable=False),
        _at("created_at"),
        sa.Column("expires_at", _moment),
        sa.Column("last_used_at", _moment),
    )
    _create_of_person("password_reset", _at("expires_at"))


def _create_of_person(table: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        table,
        _number(),
        sa.Column("user_id", _id, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("digest", name=f"uq_{table}_digest"),
        _belongs(table, "user_id", "person.id"),
        sqlite_autoincrement=True,
    )
    op.create_index(f"ix_{table}_user_id", table, ["user_id"])


def _create_invitation() -> None:
    op.create_table(
        "invitation",
        _number(),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("application_id", _id),
        sa.Column("invited_by", _id),
        _at("created_at"),
        _at("expires_at"),
        sa.PrimaryKeyConstraint("id", name="pk_invitation"),
        sa.UniqueConstraint("digest", name="uq_invitation_digest"),
        _belongs("invitation", "application_id", "application.id"),
        _belongs("invitation", "invited_by", "person.id"),
        sa.CheckConstraint(_ROLES, name=op.f("ck_invitation_role")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_invitation_application_id", "invitation", ["application_id"])
    op.create_index("ix_invitation_invited_by", "invitation", ["invited_by"])


def _number() -> sa.Column[int]:
    return sa.Column("id", _id, sa.Identity(), nullable=False)


def _at(name: str) -> sa.Column[object]:
    return sa.Column(name, _moment, nullable=False)


def _belongs(table: str, column: str, parent: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [parent], name=f"fk_{table}_{column}", ondelete="CASCADE"
    )


def _one_owner(table: str, column: str) -> None:
    where = sa.text("role = 'owner'")
    op.create_index(
        f"ix_{table}_owner",
        table,
        [column],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
