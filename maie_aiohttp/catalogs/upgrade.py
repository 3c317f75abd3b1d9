"""Bringing a catalog to the newest schema, in one transaction: after a crash it is the old one or the new one."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from maie_aiohttp.catalogs.schema import REVISION
from maie_aiohttp.errors import StorageFailed


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, in the transaction of `connection`. Raises `StorageFailed`."""
    if _revision(connection) != REVISION:
        _migrate(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _migrate(connection: Connection) -> None:
    # Loaded here because it costs a tenth of the start, and nearly no start needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "maie_aiohttp.catalogs:migrations")
    try:
        command.upgrade(config, "head")
    except CommandError:
        raise StorageFailed("The catalog was made by a newer version of this server.") from None
