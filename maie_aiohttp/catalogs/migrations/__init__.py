"""Alembic's scripts, run at start; see `catalogs.upgrade`."""
