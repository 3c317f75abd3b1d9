"""Who makes something of stored recordings, where clients may say what: MAIE, or nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from maie_aiohttp.errors import NotConfigured
from maie_aiohttp.interfaces import Outbox, Pipeline
from maie_aiohttp.model import Metadata, Upload
from maie_aiohttp.settings import Settings


@asynccontextmanager
async def pipeline(settings: Settings, outbox: Outbox) -> AsyncIterator[Pipeline]:
    """The one in the settings."""
    if "rq" not in settings.handoff.targets:
        yield NoPipeline()
        return
    from maie_aiohttp.handoffs.maie import maie  # noqa: PLC0415 - needs an extra

    async with maie(settings.rq, outbox) as found:
        yield found


class NoPipeline:
    """See `interfaces.Pipeline`."""

    async def admit(self) -> None:
        raise NotConfigured(_REASON)

    def check(self, wishes: Metadata) -> None:  # noqa: ARG002
        raise NotConfigured(_REASON)

    def accept(self, wishes: Metadata) -> None:  # noqa: ARG002
        raise NotConfigured(_REASON)

    async def outcome(self, upload: Upload) -> Mapping[str, object]:  # noqa: ARG002
        raise NotConfigured(_REASON)


_REASON = "This server hands nothing to MAIE; whoever runs it can have that, with `rq` in `handoff.targets`."
