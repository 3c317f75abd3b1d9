"""A program to break: it receives, publishes and reads back one upload, and says after each step how it went."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from pathlib import Path
from uuid import UUID

from maie_aiohttp.errors import IntakeError
from tests.layers import KIB, content, disk_store, pieces, unconcerned

ID = UUID("abcdef00-0000-4000-8000-000000000001")


async def run(root: Path) -> None:
    """Each step as one line on standard output."""
    with disk_store(root, threads=1) as store:
        mark = store.locator_of(ID)
        await step("append", store.append(mark, 0, pieces(*[bytes(100 * KIB)] * 8), unconcerned))
        await step("publish", store.publish(mark, ID, ".wav"))
        await step("read", content(store, f"audio/ab/{ID}.wav"))
        await step("retract", store.retract(mark, f"audio/ab/{ID}.wav"))
        await step("probe", store.probe())


async def step(name: str, work: Awaitable[object]) -> None:
    """Say what becomes of `work`."""
    try:
        await work
        outcome = "ok"
    except (IntakeError, AssertionError) as error:
        outcome = type(error).__name__
    sys.stdout.write(f"{name} {outcome}\n")


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
