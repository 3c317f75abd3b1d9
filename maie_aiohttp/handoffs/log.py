"""A hand-off to the log: one line an event, for people and for whoever reads logs."""

from __future__ import annotations

import structlog

from maie_aiohttp.model import Event

log = structlog.get_logger()


class LogHandoff:
    """See `interfaces.Handoff`."""

    name = "log"

    async def deliver(self, event: Event) -> None:
        upload = event.upload
        log.info("upload handed over", type=event.type, upload=str(upload.id), size=upload.size, file=str(event.file))

    async def close(self) -> None:
        """There are no connections."""
