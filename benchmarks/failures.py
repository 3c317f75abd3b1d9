"""What keeps a figure from being taken."""

from __future__ import annotations


class Missing(Exception):
    """A program is not here and cannot be installed."""


class Failed(Exception):
    """A server or a client did not do its work, so that its figures mean nothing."""
