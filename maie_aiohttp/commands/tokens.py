"""`tokens create` on the command line; a server may be running."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from uuid import uuid4

from maie_aiohttp import assembly, journal
from maie_aiohttp.commands import arguments
from maie_aiohttp.commands.operators import user
from maie_aiohttp.credentials import Token
from maie_aiohttp.settings import ConfigurationError, Settings, prepare_folder
from maie_aiohttp.stores.folder import DataFolder


def main(configured: Settings, chosen: argparse.Namespace) -> int:
    """Make an upload token, say so in the audit, and print it. Returns the exit status. Raises `StorageFailed` without
    the secret, and `ConfigurationError`."""
    if chosen.expires.total_seconds() > configured.tokens.longest:
        raise ConfigurationError("tokens.longest: a token may not be valid for so long")
    prepare_folder(configured)
    DataFolder(configured.storage.folder).check_owner()
    ends = datetime.now(UTC) + chosen.expires
    token = Token(uuid4(), None, chosen.owner, chosen.max_size, ends)
    text, log = assembly.token_signer(configured).sign(token), configured.log
    with journal.written(level=log.level, style=log.format, audit_file=log.audit_file):
        journal.audit("create token", token=str(token.id), owner=token.owner, user=user())
    sys.stdout.write(f"For one upload of {chosen.owner}, until {ends:%Y-%m-%d %H:%M}Z:\n{text}\n")
    return 0


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the command line about it."""
    actions = commands.add_parser("tokens", help="make upload tokens; a server may be running").add_subparsers(
        dest="action", metavar="action", required=True
    )
    creation = actions.add_parser("create", help="make a token for one upload, and print it on the last line")
    creation.add_argument("--owner", type=arguments.name, required=True, help="whose the upload will be")
    creation.add_argument("--max-size", type=arguments.size, help='such as "100 MB" (default: limits.max_size)')
    creation.add_argument(
        "--expires", type=arguments.lifetime, default="15 min", help='when it is too late to begin: "15 min"'
    )
