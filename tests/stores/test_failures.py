"""What the system's errors mean to a client."""

from __future__ import annotations

import errno
import os

import pytest

from maie_aiohttp.errors import Busy, IntakeError, StorageFailed, StorageFull, TooLarge
from maie_aiohttp.stores.failures import translated


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EMFILE, Busy),
        (errno.ENFILE, Busy),
        (errno.ENOMEM, Busy),
        (errno.EFBIG, TooLarge),
        (errno.EIO, StorageFailed),
        (errno.EROFS, StorageFailed),
        (errno.EACCES, StorageFailed),
    ],
)
def test_what_errors_mean(number: int, expected: type[IntakeError]) -> None:
    secret = OSError(number, os.strerror(number), "/srv/private")
    with pytest.raises(expected) as raised, translated():
        raise secret
    assert "/srv" not in str(raised.value)
    assert raised.value.__cause__ is secret


def test_no_memory_is_no_failure_of_the_disk() -> None:
    with pytest.raises(Busy), translated():
        raise MemoryError


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("a slip")
