"""Several keys for a service, clones of services, and how often each service is called."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("service", sa.Column("save_images", sa.Boolean))
    op.add_column("api_key", sa.Column("name", sa.Text, nullable=False, server_default="default"))
    op.add_column("api_key", sa.Column("hint", sa.Text))
    op.add_column("api_key", sa.Column("expires_at", _moment))
    op.add_column("api_key", sa.Column("last_used_at", _moment))
    _create_copying()
    op.create_table(
        "usage",
        _number("service_id"),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("outcome", sa.String(8), nullable=False),
        sa.Column("bucket", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("milliseconds", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("service_id", "day", "outcome", "bucket", name="pk_usage"),
        _belongs("usage", "service_id", "service.id"),
        sa.CheckConstraint("outcome IN ('ok', 'client', 'server')", name=op.f("ck_usage_outcome")),
        sqlite_with_rowid=False,
    )


def _create_copying() -> None:
    op.create_table(
        "copying",
        _number("target_id"),
        sa.Column("source_id", _id),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("worker", sa.Text),
        sa.Column("heartbeat", _moment),
        sa.Column("queued_at", _moment, nullable=False),
        sa.Column("finished_at", _moment),
        sa.PrimaryKeyConstraint("target_id", name="pk_copying"),
        _belongs("copying", "target_id", "service.id"),
        _belongs("copying", "source_id", "service.id", ondelete="SET NULL"),
        sa.CheckConstraint("state IN ('running', 'done', 'failed')", name=op.f("ck_copying_state")),
    )
    op.create_table(
        "uncopied",
        _number("target_id"),
        sa.Column("source_key", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("subject_id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("target_id", "source_key", name="pk_uncopied"),
        _belongs("uncopied", "target_id", "copying.target_id"),
        sqlite_with_rowid=False,
    )


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, _id, autoincrement=False, nullable=False)


def _belongs(
    table: str, column: str, parent: str, ondelete: str = "CASCADE"
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [parent], name=f"fk_{table}_{column}", ondelete=ondelete
    )
