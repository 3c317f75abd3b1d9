"""Bringing a catalog to the newest schema, in one transaction: after a crash it is the old one or the new one."""

from __future__ import annotations

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from maie_aiohttp.catalogs.schema import REVISION, metadata
from maie_aiohttp.errors import StorageFailed

version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Alembic's own table, as it makes it."""


def upgrade(connection: Connection) -> None:
    """Make a new catalog, or bring an old one up to date, in the transaction of `connection`. Raises
    `StorageFailed`."""
    if not inspect(connection).has_table(version.name):
        create(connection)
    elif connection.execute(select(version)).scalar_one_or_none() != REVISION:
        migrate(connection)


def create(connection: Connection) -> None:
    """Make the tables as they stand in `schema`: what all migrations together lead to, without loading Alembic."""
    metadata.create_all(connection, checkfirst=False)
    version.create(connection)
    connection.execute(insert(version).values(version_num=REVISION))


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing. Raises `StorageFailed`."""
    # Loaded here because it costs 10 MB and a tenth of the start, and nearly no start needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "maie_aiohttp.catalogs:migrations")
    try:
        command.upgrade(config, "head")
    except CommandError:
        raise StorageFailed("The catalog was made by a newer version of this server.") from None
