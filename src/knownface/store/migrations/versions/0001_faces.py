"""Applications, services, keys, subjects, examples, and the log of their changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_tenants()
    _create_faces()
    op.create_table(
        "change",
        sa.Column("service_id", _id, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("key", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("service_id", "revision", "key", name="pk_change"),
        _belongs("change", "service_id", "service.id"),
        sa.CheckConstraint("kind IN ('put', 'remove', 'clear')", name=op.f("ck_change_kind")),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        # Neither vectors nor photographs shrink by compression; a vector is best kept in its row.
        op.execute("ALTER TABLE embedding ALTER COLUMN vector SET STORAGE MAIN")
        op.execute("ALTER TABLE photograph ALTER COLUMN content SET STORAGE EXTERNAL")


def _create_tenants() -> None:
    op.create_table(
        "application",
        _numbered("id"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_application"),
        sa.UniqueConstraint("name_key", name="uq_application_name_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "service",
        _numbered("id"),
        sa.Column("application_id", _id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.LargeBinary, nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("log_floor", sa.BigInteger, nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_service"),
        _belongs("service", "application_id", "application.id"),
        sa.UniqueConstraint(
            "application_id", "name_key", name="uq_service_application_id_name_key"
        ),
        sa.CheckConstraint(
            "type IN ('recognition', 'detection', 'verification')", name=op.f("ck_service_type")
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_key",
        _numbered("id"),
        sa.Column("service_id", _id, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        _belongs("api_key", "service_id", "service.id"),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_api_key_service_id", "api_key", ["service_id"])


def _create_faces() -> None:
    op.create_table(
        "subject",
        _numbered("id"),
        sa.Column("service_id", _id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_subject"),
        _belongs("subject", "service_id", "service.id"),
        sa.UniqueConstraint("service_id", "name_key", name="uq_subject_service_id_name_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "example",
        _numbered("key"),
        sa.Column("image_id", sa.Uuid, nullable=False),
        sa.Column("service_id", _id, nullable=False),
        sa.Column("subject_id", _id, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("created_at", _moment, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_example"),
        _belongs("example", "service_id", "service.id"),
        _belongs("example", "subject_id", "subject.id"),
        sa.UniqueConstraint("image_id", name="uq_example_image_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_example_service_id_key", "example", ["service_id", "key"])
    op.create_index("ix_example_subject_id_key", "example", ["subject_id", "key"])
    op.create_table(
        "embedding",
        sa.Column("example_key", _id, autoincrement=False, nullable=False),
        sa.Column("padding", sa.LargeBinary, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("example_key", name="pk_embedding"),
        _belongs("embedding", "example_key", "example.key"),
    )
    op.create_table(
        "photograph",
        sa.Column("example_key", _id, autoincrement=False, nullable=False),
        sa.Column("padding", sa.LargeBinary, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("example_key", name="pk_photograph"),
        _belongs("photograph", "example_key", "example.key"),
    )


def _numbered(name: str) -> sa.Column[int]:
    return sa.Column(name, _id, sa.Identity(), nullable=False)


def _belongs(table: str, column: str, parent: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [parent], name=f"fk_{table}_{column}", ondelete="CASCADE"
    )
