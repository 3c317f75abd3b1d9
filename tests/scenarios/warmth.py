"""A server shows what it really needs once every module is loaded, every thread runs and every pool is filled."""

from __future__ import annotations

from aiohttp import ClientSession

from tests.scenarios.client import DOORS, delete, upload
from tests.scenarios.process import MIB
from tests.scenarios.recordings import mp3, wav

SIZE = 16 * MIB
"""Bytes of each upload: enough for blocks to reach their full size and for a flush in between."""


async def warm_up(session: ClientSession) -> None:
    """Use every part of the server that an upload uses; what was uploaded is deleted again."""
    for door in DOORS:
        for recording in (wav(SIZE), mp3(SIZE), wav(SIZE)):
            record = (await upload(session, door, recording)).record
            await delete(session, record["id"])
