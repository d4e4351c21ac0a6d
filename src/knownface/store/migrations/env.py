"""What Alembic runs to take the steps, inside the transaction of the connection it is given."""

from __future__ import annotations

from alembic import context

from knownface.store.migrations import VERSION_TABLE
from knownface.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
