"""Who runs a command, for the audit."""

from __future__ import annotations

import os
import pwd


def user() -> str:
    """The system's word, not that of the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container need not know its users
        return str(os.getuid())
