"""The steps that bring a database of any older version to this one, run whenever it is opened."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from knownface.errors import ConfigurationError

# The newest step; a test holds it against the files in versions/.
HEAD = "0006"

VERSION_TABLE = "schema_version"

_version = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))


def migrate(connection: Connection, shown: str) -> None:
    """Bring the tables to HEAD inside the transaction of `connection`, so that all steps are taken
    or none.

    ConfigurationError, naming the database as `shown`, when its tables are not of this or an older
    version.
    """
    present = set(inspect(connection).get_table_names())
    if VERSION_TABLE in present:
        version = connection.execute(select(_version.c.version_num)).scalar_one_or_none()
        if version == HEAD:
            return
    elif present & {"application", "service", "subject", "example", "change"}:
        raise ConfigurationError(
            f"The database {shown} holds tables of another program. Give Knownface one of its own."
        )
    else:
        version = None
    _upgrade(connection, version, shown)


def is_current(connection: Connection) -> bool:
    """Tell whether the tables are those of this version."""
    if VERSION_TABLE not in inspect(connection).get_table_names():
        return False
    version = connection.execute(select(_version.c.version_num)).scalar_one_or_none()
    return version == HEAD


def _upgrade(connection: Connection, version: str | None, shown: str) -> None:
    # Imported here, because a database of this version, the usual case, has no need of it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise ConfigurationError(
            f"The database {shown} was written by a newer version of Knownface (schema {version}, "
            f"this one knows {HEAD}). Install that version, or restore an older backup."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
