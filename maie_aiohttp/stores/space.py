"""Free space: what uploads may still take of it."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reserve:
    """Free space that uploads leave alone: the smaller of `size` bytes and `ratio` of the file system."""

    size: int
    ratio: float

    def free(self, descriptor: int) -> int:
        """Bytes that uploads may take on the file system of an open file or folder; negative where the reserve
        is already touched. Raises OSError."""
        found = os.fstatvfs(descriptor)
        kept = min(self.size, int(self.ratio * found.f_blocks * found.f_frsize))
        return found.f_bavail * found.f_frsize - kept
