"""What nobody continues comes to an end, and what has ended is forgotten."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from maie_aiohttp.errors import Locked, NotFound
from maie_aiohttp.intake.delivery import REMEMBERED, Intake
from maie_aiohttp.interfaces import Catalog
from maie_aiohttp.model import UNDECIDED, Status, Upload

PAGE = 200
"""Uploads, or keys, asked for at a time."""

log = structlog.get_logger()


async def sweep(intake: Intake) -> int:
    """Let expire what nobody continues, and forget what need not be remembered any longer. Uploads in use are left
    alone. Returns how many changed."""
    swept, left = 0, set[UUID]()
    while late := {one.id for one in await intake.catalog.overdue(datetime.now(UTC), PAGE + len(left))} - left:
        ended = await asyncio.gather(*(_end(intake, id) for id in late))
        left |= {id for id, is_over in zip(late, ended, strict=True) if not is_over}
        swept += len(late - left)
    return swept


async def forget_keys(catalog: Catalog, lifetime: timedelta) -> None:
    """Forget idempotency keys that were used so long ago."""
    before = datetime.now(UTC) - lifetime
    while await catalog.forget_keys(before, PAGE) == PAGE:
        continue


async def _end(intake: Intake, id: UUID) -> bool:
    """Whether the state of an overdue upload ended; it may have moved on meanwhile, or be in use."""
    with suppress(Locked, NotFound), intake.locks.try_hold(id):
        upload = await intake.catalog.get(id)
        if upload.expires_at is None or upload.expires_at > datetime.now(UTC):
            return False
        if upload.status in UNDECIDED:
            await _expire(intake, upload)
            return True
        if upload.status in (Status.REJECTED, Status.EXPIRED):
            await intake.catalog.remove(id)
            return True
    return False


async def _expire(intake: Intake, upload: Upload) -> None:
    until = datetime.now(UTC) + REMEMBERED
    await intake.catalog.move(upload.id, Status.EXPIRED, expires_at=until)
    await intake.discard(upload.id)
    log.info("upload expired", upload=str(upload.id))
    intake.hub.publish(replace(upload, status=Status.EXPIRED, expires_at=until))
