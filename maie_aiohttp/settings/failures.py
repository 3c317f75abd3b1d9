"""What is wrong with a configuration, in words for whoever wrote it."""

from __future__ import annotations


class ConfigurationError(Exception):
    """The server cannot start as configured. `lines` holds one sentence per problem, each beginning with the
    name of the key as its author wrote it."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
