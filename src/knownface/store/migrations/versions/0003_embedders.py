"""An embedder for each service, and embeddings of two models side by side while that changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("service", sa.Column("embedder", sa.Text))
    op.add_column("service", sa.Column("model", sa.Text))
    op.execute(
        "UPDATE service SET model = (SELECT example.model FROM example"
        " WHERE example.service_id = service.id ORDER BY example.key LIMIT 1)"
    )
    if op.get_bind().dialect.name == "postgresql":
        _extend_embeddings()
    else:
        _copy_embeddings()
    op.drop_column("example", "model")
    _create_left_out()
    _create_reembedding()


def _extend_embeddings() -> None:
    op.add_column("embedding", sa.Column("model", sa.Text))
    op.execute(
        "UPDATE embedding SET model = example.model FROM example"
        " WHERE example.key = embedding.example_key"
    )
    op.alter_column("embedding", "model", nullable=False)
    op.drop_constraint("pk_embedding", "embedding")
    op.create_primary_key("pk_embedding", "embedding", ["example_key", "model"])


def _copy_embeddings() -> None:
    """Make the table anew, the only way to another key in SQLite; nothing hangs on its rows."""
    op.rename_table("embedding", "embedding_before")
    op.create_table(
        "embedding",
        _example(),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("padding", sa.LargeBinary, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("example_key", "model", name="pk_embedding"),
        _belongs("embedding", "example_key", "example.key"),
    )
    op.execute(
        "INSERT INTO embedding (example_key, model, padding, vector)"
        " SELECT example_key, model, padding, vector FROM embedding_before"
        " JOIN example ON example.key = example_key ORDER BY example_key"
    )
    op.drop_table("embedding_before")


def _create_left_out() -> None:
    op.create_table(
        "left_out",
        _example(),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("example_key", "model", name="pk_left_out"),
        _belongs("left_out", "example_key", "example.key"),
    )


def _create_reembedding() -> None:
    op.create_table(
        "reembedding",
        sa.Column("service_id", _id, autoincrement=False, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("unclean", sa.Boolean, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("worker", sa.Text),
        sa.Column("heartbeat", _moment),
        sa.Column("queued_at", _moment, nullable=False),
        sa.Column("finished_at", _moment),
        sa.PrimaryKeyConstraint("service_id", name="pk_reembedding"),
        _belongs("reembedding", "service_id", "service.id"),
        sa.CheckConstraint(
            "state IN ('running', 'done', 'cancelled', 'failed')",
            name=op.f("ck_reembedding_state"),
        ),
    )


def _example() -> sa.Column[int]:
    return sa.Column("example_key", _id, autoincrement=False, nullable=False)


def _belongs(table: str, column: str, parent: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [parent], name=f"fk_{table}_{column}", ondelete="CASCADE"
    )
