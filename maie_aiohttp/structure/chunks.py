"""Files made of chunks (EA IFF 85 and its descendants): an id, a size, a body, padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Order: TypeAlias = Literal["big", "little"]

# Real files have a few dozen chunks before their samples; without a cap, 64 KiB of empty chunks cost 10 ms.
_MOST_CHUNKS = 512


@dataclass(frozen=True, slots=True)
class Layout:
    """How one family writes a chunk's header, in bytes."""

    order: Order
    id_bytes: int = 4
    size_bytes: int = 4
    alignment: int = 2
    counts_header: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk whose header stands whole in the head; its body may reach past it."""

    id: bytes
    start: int
    size: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the body, before any padding."""
        return self.start + self.size


def walk(head: bytes, at: int, layout: Layout) -> Iterator[Chunk]:
    """The chunks from offset `at` on, until the head ends (or holds absurdly many)."""
    header = layout.id_bytes + layout.size_bytes
    for _ in range(_MOST_CHUNKS):
        start = at + header
        if start > len(head):
            return
        size = int.from_bytes(head[at + layout.id_bytes : start], layout.order)
        if layout.counts_header:
            size = max(size - header, 0)
        chunk = Chunk(head[at : at + layout.id_bytes], start, size)
        yield chunk
        at = chunk.end + -chunk.end % layout.alignment


def passable(chunk: Chunk, head: bytes, known: frozenset[bytes]) -> bool:
    """Whether a chunk nobody asked for may be skipped.

    The formats allow ids of one's own, but text or noise also reads as a chunk of some size: a size that is almost
    always far past the head. So only a known chunk may reach there. Zeros are no chunk at all.
    """
    return chunk.id in known or (chunk.end <= len(head) and any(chunk.id))
