"""`handoffs list` and `handoffs replay` on the command line; a server may be running."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from maie_aiohttp import assembly
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.crew.bell import Bell
from maie_aiohttp.interfaces import Outbox
from maie_aiohttp.model import Handed, Letter, Place
from maie_aiohttp.settings import Settings
from maie_aiohttp.stores.folder import DataFolder

DONE, NOT_DONE = 0, 1
"""Exit statuses."""

PAGE = 200


def main(configured: Settings, chosen: argparse.Namespace) -> int:
    """Run it. Returns the exit status. Raises `IntakeError` where the outbox cannot be reached."""
    return asyncio.run(_ACTIONS[chosen.action](configured, chosen))


async def show(configured: Settings, chosen: argparse.Namespace) -> int:
    """Print what targets do not know yet, or how far they know of one upload: one hand-off a line, the newest first."""
    async with _outbox(configured) as outbox:
        if chosen.id is not None:
            letters = await outbox.of(chosen.id)
            _say(*(_described(letter) for letter in letters if letter.status is Handed.DEAD or not chosen.dead))
            return DONE
        for target in configured.handoff.targets:
            backlog = await outbox.backlog(target)
            _say(f"{target}: {backlog.waiting} waiting, {backlog.dead} dead")
        for status in (Handed.DEAD,) if chosen.dead else (Handed.PENDING, Handed.DEAD):
            async for letter in _all(outbox, status):
                _say(_described(letter))
    return DONE


async def replay(configured: Settings, chosen: argparse.Namespace) -> int:
    """Begin hand-offs anew, and wake the server."""
    async with _outbox(configured) as outbox:
        replayed = await outbox.replay(datetime.now(UTC), id=chosen.id, dead=chosen.dead)
    if replayed == 0:
        sys.stderr.write("There is no such hand-off. What nobody was told of yet needs no replay.\n")
        return NOT_DONE
    _say(f"{replayed} to be delivered again. A running server does so at once.")
    return DONE


_ACTIONS = {"list": show, "replay": replay}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the command line about it."""
    actions = commands.add_parser(
        "handoffs", help="list what others were not told yet, and tell them again; a server may be running"
    ).add_subparsers(dest="action", metavar="action", required=True)
    listing = actions.add_parser("list", help="what waits and what was given up; or all about one upload")
    listing.add_argument("id", nargs="?", type=UUID, metavar="ID", help="of an upload")
    listing.add_argument("--dead", action="store_true", help="only what was given up")
    again = actions.add_parser("replay", help="deliver again, with the same event id")
    which = again.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?", type=UUID, metavar="ID", help="all about this upload, delivered or not")
    which.add_argument("--dead", action="store_true", help="all that was given up")


@asynccontextmanager
async def _outbox(configured: Settings) -> AsyncIterator[Outbox]:
    """Of a data folder that a server has made."""
    with ExitStack() as stack:
        folder = DataFolder(configured.storage.folder)
        stack.callback(folder.close)
        folder.attach()
        bell = Bell(folder.bell_file)
        stack.callback(bell.close)
        catalog = await SqlCatalog.open(assembly.catalog_url(configured, folder), ring=bell.ring)
        try:
            yield catalog.outbox
        finally:
            await catalog.close()


async def _all(outbox: Outbox, status: Handed) -> AsyncIterator[Letter]:
    after = None
    while page := await outbox.list(PAGE, status=status, after=after):
        for letter in page:
            yield letter
        after = Place(page[-1].number, page[-1].target)


def _described(letter: Letter) -> str:
    moments = {"due": letter.due_at, "delivered": letter.delivered_at, "given up": letter.died_at}
    dates = (f"{word} {moment:%Y-%m-%d %H:%M:%S}Z" for word, moment in moments.items() if moment is not None)
    words = (f"{letter.upload.id} {letter.target}: {letter.status}", f"attempts {letter.attempts}", *dates)
    return ", ".join(words) + (f": {letter.error}" if letter.error else "")


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
