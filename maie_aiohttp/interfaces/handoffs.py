"""Whom stored uploads are handed to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from maie_aiohttp.model import (
    Event,
    Metadata,
    Upload,
)


class Handoff(Protocol):
    """Tells one target of events. An event may come again that was delivered already, with the same id; those of one
    upload come in their order, and those of several at once."""

    @property
    def name(self) -> str:
        """By which settings, records and the log know the target."""
        ...

    async def deliver(self, event: Event) -> None:
        """Returns when the target has acknowledged the event: it is not told of it again. Ends within a time of its
        own; whoever cancels it does not know whether the target has the event. Raises `errors.Undelivered` where the
        target may take it later, and `errors.Undeliverable` where it never will. Anything else that it raises is a bug,
        and counts as `Undelivered`."""
        ...

    async def close(self) -> None:
        """End the connections. Nothing is being delivered any more."""
        ...


class Pipeline(Protocol):
    """Makes something of stored recordings, and is asked for it by clients. Where there is none, everything raises
    `errors.NotConfigured`."""

    async def admit(self) -> None:
        """Raises `errors.QueueFull` while more waits for it than is to wait."""
        ...

    def check(self, wishes: Metadata) -> None:
        """Raises `errors.InvalidTask` for what cannot become a task, whatever else is still said."""
        ...

    def accept(self, wishes: Metadata) -> None:
        """Raises `errors.InvalidTask` for what is no task."""
        ...

    async def outcome(self, upload: Upload) -> Mapping[str, object]:
        """What has become of the task of a stored upload so far, in the words of the pipeline. Raises `errors.NotFound`
        if that is forgotten, and `errors.Busy` while nobody can tell."""
        ...
