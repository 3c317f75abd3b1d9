"""Run by Alembic: migrates over the connection it was given, inside that connection's transaction."""

from alembic import context

from maie_aiohttp.catalogs.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
