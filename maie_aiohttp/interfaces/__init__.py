"""The waist: what intake asks of checks, stores and catalogs, and the relay of hand-offs. Contracts stand here once;
implementations point here."""

from maie_aiohttp.interfaces.books import FactsBook, Keyring, Outbox, QuotaBook, TokenBook, Waveforms
from maie_aiohttp.interfaces.catalog import Catalog
from maie_aiohttp.interfaces.handoffs import Handoff, Pipeline
from maie_aiohttp.interfaces.scanner import Begin, Scanner
from maie_aiohttp.interfaces.store import (
    HEAD,
    UNKNOWN,
    Advance,
    Ahead,
    Chunk,
    Conclude,
    Content,
    Observe,
    Read,
    Store,
    Taken,
    nobody_waits,
    nothing,
    unheard,
)

__all__ = [
    "HEAD",
    "UNKNOWN",
    "Advance",
    "Ahead",
    "Begin",
    "Catalog",
    "Chunk",
    "Conclude",
    "Content",
    "FactsBook",
    "Handoff",
    "Keyring",
    "Observe",
    "Outbox",
    "Pipeline",
    "QuotaBook",
    "Read",
    "Scanner",
    "Store",
    "Taken",
    "TokenBook",
    "Waveforms",
    "nobody_waits",
    "nothing",
    "unheard",
]
