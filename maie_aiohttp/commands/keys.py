"""`keys create`, `keys list` and `keys revoke` on the command line; a server may be running."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from maie_aiohttp import assembly, journal
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.commands import arguments
from maie_aiohttp.commands.operators import user
from maie_aiohttp.credentials import Key, Scope, digest_of, new_secret
from maie_aiohttp.interfaces import Keyring
from maie_aiohttp.limits.quota import Quota
from maie_aiohttp.settings import Settings, prepare_folder
from maie_aiohttp.stores.folder import DataFolder
from maie_aiohttp.units import LIFETIMES, SIZES

DONE, NOT_DONE = 0, 1
"""Exit statuses."""


def main(configured: Settings, chosen: argparse.Namespace) -> int:
    """Run it, and say in the audit what was done. Returns the exit status. Raises `IntakeError` where the keys cannot
    be reached, and `ConfigurationError` where nothing can be written down."""
    log = configured.log
    with journal.written(level=log.level, style=log.format, audit_file=log.audit_file):
        return asyncio.run(_ACTIONS[chosen.action](configured, chosen))


async def create(configured: Settings, chosen: argparse.Namespace) -> int:
    """Make a key, and print it: the only time that it is seen."""
    secret, now = new_secret(), datetime.now(UTC)
    expires_at = None if chosen.expires is None else now + chosen.expires
    owner, quota = chosen.owner or chosen.name, _quota(chosen)
    key = Key(chosen.name, digest_of(secret), owner, chosen.scope, now, expires_at, quota=quota)
    async with _keyring(configured) as keyring:
        if not await keyring.add(key):
            return _refuse("There is, or was, a key of that name; names are not used twice.")
    journal.audit("create key", name=key.name, owner=key.owner, scopes=sorted(key.scopes), user=user())
    _say(_described(key), "It is not shown again:", secret)
    return DONE


async def show(configured: Settings, _: argparse.Namespace) -> int:
    """Print what is known of the keys, one a line."""
    async with _keyring(configured) as keyring:
        _say(*(_described(key) for key in await keyring.all()))
    return DONE


async def revoke(configured: Settings, chosen: argparse.Namespace) -> int:
    """Let a key open nothing any more."""
    async with _keyring(configured) as keyring:
        if not await keyring.revoke(chosen.name, datetime.now(UTC)):
            return _refuse("There is no such key, or it is revoked already.")
    journal.audit("revoke key", name=chosen.name, user=user())
    _say("Revoked. A running server knows it within a second.")
    return DONE


_ACTIONS = {"create": create, "list": show, "revoke": revoke}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the command line about it."""
    actions = commands.add_parser(
        "keys", help="make, list and revoke API keys; a server may be running"
    ).add_subparsers(dest="action", metavar="action", required=True)
    creation = actions.add_parser("create", help="make a key, and print it on the last line")
    creation.add_argument("name", type=arguments.name, help="stands in the log for whoever uses the key")
    scopes = ", ".join(Scope)
    creation.add_argument(
        "--scope", type=arguments.scopes, required=True, help=f"what it allows, with commas between: {scopes}"
    )
    creation.add_argument("--owner", type=arguments.name, help="whose uploads it reaches (default: its name)")
    creation.add_argument(
        "--expires", type=arguments.lifetime, help='after so long it opens nothing any more, such as "90 d"'
    )
    limits = creation.add_argument_group(
        "quota", "in place of the server's, on all that the owner sends; what is not given here is not limited then"
    )
    limits.add_argument("--quota-bytes", type=arguments.size, help='stored within the window, such as "10 GB"')
    limits.add_argument("--quota-files", type=arguments.count, help="stored within the window")
    limits.add_argument("--quota-window", type=arguments.window, help='how far back they count (default: "1 d")')
    limits.add_argument("--uploads", type=arguments.count, help="not finished, at a time")
    actions.add_parser("list", help="names, owners, scopes and dates")
    revocation = actions.add_parser("revoke", help="let a key open nothing any more, for good")
    revocation.add_argument("name", type=arguments.name)


@asynccontextmanager
async def _keyring(configured: Settings) -> AsyncIterator[Keyring]:
    """Of a data folder that there need not be yet."""
    prepare_folder(configured)
    folder = DataFolder(configured.storage.folder)
    folder.check_owner()
    catalog = await SqlCatalog.open(assembly.catalog_url(configured, folder))
    try:
        yield catalog.keyring
    finally:
        await catalog.close()


def _described(key: Key) -> str:
    ends = {"expires": key.expires_at, "revoked": key.revoked_at}
    dates = (f"{word} {moment:%Y-%m-%d %H:%M}Z" for word, moment in ends.items() if moment is not None)
    scopes = ",".join(sorted(key.scopes))
    limits = () if key.quota is None else (f"quota {_limits(key.quota)}",)
    return ", ".join(
        (f"{key.name}: {scopes}", f"owner {key.owner}", f"created {key.created_at:%Y-%m-%d %H:%M}Z", *dates, *limits)
    )


def _limits(quota: Quota) -> str:
    if quota.is_unlimited:
        return "without limit"
    size = None if quota.size is None else SIZES.text(quota.size)
    files = None if quota.files is None else f"{quota.files} files"
    uploads = None if quota.uploads is None else f"{quota.uploads} uploads at a time"
    window = LIFETIMES.text(quota.window // timedelta(seconds=1))
    return " and ".join(limit for limit in (size, files, uploads) if limit) + f" in {window}"


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _refuse(reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return NOT_DONE


def _quota(chosen: argparse.Namespace) -> Quota | None:
    """None where no part of it is given."""
    limits = chosen.quota_bytes, chosen.quota_files, chosen.uploads
    if chosen.quota_window is None:
        return None if limits == (None, None, None) else Quota(*limits)
    return Quota(*limits, chosen.quota_window)
