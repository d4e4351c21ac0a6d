"""From when on a service takes a face for a subject; services that have none go on as they were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Columns are added in place: making the table anew, as SQLite wants for a constraint, would
    # delete what hangs on its rows.
    op.add_column("service", sa.Column("similarity_threshold", sa.Double))
    op.add_column("service", sa.Column("max_fmr", sa.Double))
