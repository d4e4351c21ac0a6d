"""By what subjects are listed and searched, so that reading a page costs no more than a page."""

from __future__ import annotations

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_LENGTH = 255
_AT_ONCE = 10_000
_subject = sa.table(
    "subject", sa.column("id", sa.BigInteger), sa.column("name"), sa.column("sorting")
)


def upgrade() -> None:
    # PostgreSQL's own order differs from place to place; SQLite's is that of the bytes.
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    kind = sa.String(_LENGTH, collation)
    op.add_column("subject", sa.Column("sorting", kind, nullable=False, server_default=""))
    _fill()
    op.create_index("ix_subject_service_id_sorting_id", "subject", ["service_id", "sorting", "id"])


def _fill() -> None:
    connection, last = op.get_bind(), 0
    some = sa.select(_subject.c.id, _subject.c.name).order_by(_subject.c.id).limit(_AT_ONCE)
    change = (
        sa.update(_subject)
        .where(_subject.c.id == sa.bindparam("number"))
        .values(sorting=sa.bindparam("text"))
    )
    while rows := connection.execute(some.where(_subject.c.id > last)).all():
        connection.execute(change, [{"number": row.id, "text": _sorting(row.name)} for row in rows])
        last = rows[-1].id


def _sorting(name: str) -> str:
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return re.sub("[\u0300-\u036f]", "", folded)[:_LENGTH]
