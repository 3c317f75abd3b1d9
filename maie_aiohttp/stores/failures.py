"""What the operating system's errors mean to a client."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from maie_aiohttp.errors import Busy, IntakeError, StorageFailed, StorageFull, TooLarge

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


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
