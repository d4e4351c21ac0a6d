"""The tables of the program, alike on SQLite and PostgreSQL. Migrations build them; a test compares
the two.

    application ─── service ─┬─ api_key
                             ├─ subject ─── example ─┬─ embedding
                             │                       ├─ left_out
                             │                       └─ photograph
                             ├─ reembedding
                             ├─ copying ─── uncopied
                             ├─ usage
                             └─ change

Everything hangs on its parent by a foreign key that cascades, so that deleting a row erases all
below it in the same transaction. Identities are never used twice: caches outside of the database
are keyed by them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.types import TypeDecorator

from knownface.store.names import SORTING_LENGTH

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

    Timestamp = TypeDecorator[datetime]
else:
    Timestamp = TypeDecorator


class UtcDateTime(Timestamp):
    """An aware moment; SQLite, which knows no time zones, keeps it as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


# SQLite numbers rows by itself only where the column is called INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# What a service's first key is called.
FIRST_KEY = "default"

application = Table(
    "application",
    metadata,
    Column("id", Id, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", LargeBinary, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

service = Table(
    "service",
    metadata,
    Column("id", Id, Identity(), primary_key=True),
    Column("application_id", Id, ForeignKey("application.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", LargeBinary, nullable=False),
    Column("type", String(16), nullable=False),
    # Counts the writes to the service's faces; its row lock lets one writer in at a time.
    Column("revision", BigInteger, nullable=False),
    # The change log knows every revision above this one.
    Column("log_floor", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # From when on a face is a subject's: at most one of them is set.
    Column("similarity_threshold", Double),
    Column("max_fmr", Double),
    # The embedder that was chosen for this service; without one it goes by the server's.
    Column("embedder", Text),
    # The model whose embeddings are compared; those of others wait, or are left over.
    Column("model", Text),
    # Whether photographs are kept; where nothing is said it goes by the server's setting.
    Column("save_images", Boolean),
    UniqueConstraint("application_id", "name_key"),
    CheckConstraint("type IN ('recognition', 'detection', 'verification')", name="type"),
    sqlite_autoincrement=True,
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Id, Identity(), primary_key=True),
    Column("service_id", Id, ForeignKey("service.id", ondelete="CASCADE"), nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("name", Text, nullable=False, server_default=FIRST_KEY),
    # Its last characters, by which people tell keys apart; not known of old ones.
    Column("hint", Text),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Index(None, "service_id"),
    sqlite_autoincrement=True,
)

subject = Table(
    "subject",
    metadata,
    Column("id", Id, Identity(), primary_key=True),
    Column("service_id", Id, ForeignKey("service.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # What the name is listed and searched by; PostgreSQL's own order differs from place to place.
    Column(
        "sorting",
        String(SORTING_LENGTH).with_variant(String(SORTING_LENGTH, "C"), "postgresql"),
        nullable=False,
        server_default="",
    ),
    UniqueConstraint("service_id", "name_key"),
    # Lists are cut out of it alone, so that the last page costs hardly more than the first.
    Index(None, "service_id", "sorting", "id"),
    sqlite_autoincrement=True,
)

example = Table(
    "example",
    metadata,
    Column("key", Id, Identity(), primary_key=True),
    Column("image_id", Uuid, nullable=False, unique=True),
    Column("service_id", Id, ForeignKey("service.id", ondelete="CASCADE"), nullable=False),
    Column("subject_id", Id, ForeignKey("subject.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index(None, "service_id", "key"),
    Index(None, "subject_id", "key"),
    sqlite_autoincrement=True,
)

# Vectors and photographs are erased without trace only while their bytes stand behind `padding`,
# which may hold the first few of a vector: see erasure.py.
embedding = Table(
    "embedding",
    metadata,
    Column(
        "example_key",
        Id,
        ForeignKey("example.key", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    # Before the padding: however long it is, it only pushes the vector further.
    Column("model", Text, primary_key=True),
    Column("padding", LargeBinary, nullable=False),
    Column("vector", LargeBinary, nullable=False),
)

# Why an example has no embedding of a model that every example was to get one of.
left_out = Table(
    "left_out",
    metadata,
    Column(
        "example_key",
        Id,
        ForeignKey("example.key", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("model", Text, primary_key=True),
    Column("reason", Text, nullable=False),
)

photograph = Table(
    "photograph",
    metadata,
    Column(
        "example_key",
        Id,
        ForeignKey("example.key", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("padding", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("media_type", Text, nullable=False),
)

# What happened to the examples of a service, as numbers only: it must outlive the people it speaks
# of.
change = Table(
    "change",
    metadata,
    Column("service_id", Id, ForeignKey("service.id", ondelete="CASCADE"), primary_key=True),
    Column("revision", BigInteger, primary_key=True),
    Column("key", BigInteger, primary_key=True),
    Column("kind", String(8), nullable=False),
    CheckConstraint("kind IN ('put', 'remove', 'clear')", name="kind"),
    sqlite_with_rowid=False,
)

# The last change of a service's embedder: who is at work on it, and how far it is.
reembedding = Table(
    "reembedding",
    metadata,
    Column(
        "service_id",
        Id,
        ForeignKey("service.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("model", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    # Whether vectors are left that nobody compares any more.
    Column("unclean", Boolean, nullable=False),
    Column("failure", Text),
    Column("worker", Text),
    Column("heartbeat", UtcDateTime),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    CheckConstraint("state IN ('running', 'done', 'cancelled', 'failed')", name="state"),
)

# How a service came, or comes, to be a copy of another: who is at work on it, and how far it is.
copying = Table(
    "copying",
    metadata,
    Column(
        "target_id",
        Id,
        ForeignKey("service.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("source_id", Id, ForeignKey("service.id", ondelete="SET NULL")),
    Column("state", String(16), nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("failure", Text),
    Column("worker", Text),
    Column("heartbeat", UtcDateTime),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    CheckConstraint("state IN ('running', 'done', 'failed')", name="state"),
)

# The examples of the source that are still to be copied, and the copy's subject each goes to.
uncopied = Table(
    "uncopied",
    metadata,
    Column(
        "target_id",
        Id,
        ForeignKey("copying.target_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("source_key", BigInteger, primary_key=True, autoincrement=False),
    Column("subject_id", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# How often a service was called on a day, by what came of it and by how long it took.
usage = Table(
    "usage",
    metadata,
    Column(
        "service_id",
        Id,
        ForeignKey("service.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("day", Date, primary_key=True),
    Column("outcome", String(8), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("requests", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    CheckConstraint("outcome IN ('ok', 'client', 'server')", name="outcome"),
    sqlite_with_rowid=False,
)
