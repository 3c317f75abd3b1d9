"""The values the product speaks of: what a client declares, what becomes of it, and which states follow which."""

from maie_aiohttp.model.facts import ANY_FACTS, Facts, Finding, Outline, Sought
from maie_aiohttp.model.handoffs import Backlog, Event, Handed, Letter, Place
from maie_aiohttp.model.uploads import (
    NO_CHARGE,
    TRANSITIONS,
    UNDECIDED,
    Charge,
    Declared,
    KeyUse,
    Metadata,
    Position,
    Settled,
    Status,
    Stored,
    Terms,
    Upload,
    sources,
)

__all__ = [
    "ANY_FACTS",
    "NO_CHARGE",
    "TRANSITIONS",
    "UNDECIDED",
    "Backlog",
    "Charge",
    "Declared",
    "Event",
    "Facts",
    "Finding",
    "Handed",
    "KeyUse",
    "Letter",
    "Metadata",
    "Outline",
    "Place",
    "Position",
    "Settled",
    "Sought",
    "Status",
    "Stored",
    "Terms",
    "Upload",
    "sources",
]
