"""A server that dies, dies in a child of this process, which must have one thread alone."""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Callable, Coroutine
from typing import Any


def in_child(visit: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Whether the child was killed. Raises RuntimeError if it ended in another way."""
    if (child := os.fork()) == 0:
        try:
            asyncio.run(visit())
        except BaseException:  # noqa: BLE001 - the parent hears of it
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a server ended with status {status}")
    return status != 0


def here(visit: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
    """What it returns, in this process."""
    return asyncio.run(visit())
