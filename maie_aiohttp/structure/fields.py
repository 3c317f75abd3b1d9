"""Integers at an offset, and four-character codes.

Bytes past the end count as absent: nothing raises, and callers check bounds where it matters.
"""

from __future__ import annotations


def u16be(data: bytes, at: int) -> int:
    """Unsigned 16 bits, big-endian."""
    return int.from_bytes(data[at : at + 2], "big")


def u16le(data: bytes, at: int) -> int:
    """Unsigned 16 bits, little-endian."""
    return int.from_bytes(data[at : at + 2], "little")


def u24be(data: bytes, at: int) -> int:
    """Unsigned 24 bits, big-endian."""
    return int.from_bytes(data[at : at + 3], "big")


def u32be(data: bytes, at: int) -> int:
    """Unsigned 32 bits, big-endian."""
    return int.from_bytes(data[at : at + 4], "big")


def u32le(data: bytes, at: int) -> int:
    """Unsigned 32 bits, little-endian."""
    return int.from_bytes(data[at : at + 4], "little")


def u64be(data: bytes, at: int) -> int:
    """Unsigned 64 bits, big-endian."""
    return int.from_bytes(data[at : at + 8], "big")


def u64le(data: bytes, at: int) -> int:
    """Unsigned 64 bits, little-endian."""
    return int.from_bytes(data[at : at + 8], "little")


def fourccs(codes: str) -> frozenset[bytes]:
    """Four-character codes from words; shorter ones are padded with spaces."""
    return frozenset(code.ljust(4).encode() for code in codes.split())
