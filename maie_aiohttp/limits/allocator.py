"""glibc's memory allocator, told how this server uses memory: much of it, for a short time, in large pieces.

As it comes, it maps and unmaps each receipt and block, or returns the end of the heap after each, to fault the same
pages in again a moment later. And what a crowd of uploads leaves between objects that live on, it keeps. Where the
system has another allocator, nothing happens here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

MIB = 1024 * 1024

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""The names of mallopt(3)."""


def tune() -> None:
    """Keep up to 8 MiB at hand, and map nothing below 1 MiB. To be called before there are threads."""
    mallopt = _function("mallopt")
    mallopt(_MMAP_THRESHOLD, MIB)
    mallopt(_TRIM_THRESHOLD, 8 * MIB)
    mallopt(_TOP_PAD, MIB)


def trim() -> None:
    """Give back to the system what is free, also between what is not. Takes 2 to 12 ms at 150 MB, off the GIL."""
    _function("malloc_trim")(0)


def _function(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(ctypes.CDLL(None), name, _nothing)
    return found


def _nothing(*_: int) -> None:
    """What an allocator without such a function does."""
