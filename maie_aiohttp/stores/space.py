"""Free space: what an upload may still take, and whether the disk takes anything at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from maie_aiohttp.errors import Busy, IntakeError, StorageFailed, StorageFull, TooLarge

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Reserve:
    """Free space that uploads leave alone: the smaller of `size` bytes and `ratio` of the file system."""

    size: int
    ratio: float

    def free(self, folder: int) -> int:
        """Bytes that uploads may take on the file system of `folder`, a descriptor; negative where the reserve
        is already touched. Raises OSError."""
        found = os.fstatvfs(folder)
        kept = min(self.size, int(self.ratio * found.f_blocks * found.f_frsize))
        return found.f_bavail * found.f_frsize - kept


@contextmanager
def translated() -> Iterator[None]:
    """OSError as the product's own errors."""
    try:
        yield
    except MemoryError:
        raise Busy("The server is short of memory.") from None
    except OSError as error:
        raise _translation(error) from error


def _translation(error: OSError) -> IntakeError:
    if error.errno in _FULL:
        return StorageFull("There is no room for this upload.")
    if error.errno in _SHORT:
        return Busy("The server is short of descriptors or memory.")
    if error.errno == errno.EFBIG:
        return TooLarge("The file system does not take files as large as this.")
    return StorageFailed("The storage does not work at the moment.")
