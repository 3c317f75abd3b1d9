"""A socket at a path, for a proxy on the same machine. One that a dead server left is replaced, one that lives is not,
and nothing else is touched."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maie_aiohttp.settings import ConfigurationError

_LIVING = {0, errno.EAGAIN}
"""What connecting comes to where somebody listens; EAGAIN, where too many wait already."""


def listen(path: Path, mode: int, backlog: int) -> socket.socket:
    """A socket that whoever may write to it can connect to. Raises `ConfigurationError`."""
    try:
        with _alone_in(path.parent):
            _remove_left(path)
            made = socket.socket(socket.AF_UNIX)
            made.bind(str(path))
            path.chmod(mode)
            made.listen(backlog)  # only now can anybody connect
            return made
    except OSError as error:
        raise ConfigurationError(f"server.unix_socket: cannot listen at {path}: {error.strerror}") from None


def remove(path: Path) -> None:
    """Take it away once it is closed, unless another has its place by now."""
    with suppress(OSError), _alone_in(path.parent):
        _remove_left(path)


def _remove_left(path: Path) -> None:
    """Raises OSError if there is something else than a socket nobody listens at."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "There is something else than a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(str(path))
    if answer in _LIVING:
        raise OSError(errno.EADDRINUSE, "Another server listens there")
    if answer != errno.ECONNREFUSED:
        raise OSError(answer, os.strerror(answer))
    path.unlink()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Of two that start at once, each could take the other's new socket for an old one. Raises BlockingIOError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
