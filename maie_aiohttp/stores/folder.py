"""The data folder: its layout, its modes, and the lock that keeps a second server out.

incoming/<uuid>.part       bytes on their way, and the marks of uploads not yet in the catalog
audio/<ab>/<uuid>.<ext>    published; <ab> are the first two hexadecimal digits of the UUID
orphans/                   published bytes that no record speaks of
lock                       held by the server
locks                      one byte an upload, held by whoever writes it (see `locks`)
bell                       rung where there is something to hand over (see `bell`)
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maie_aiohttp.errors import StorageFailed
from maie_aiohttp.stores import fsio

FOLDER_MODE = 0o750
PART_MODE = 0o600
PUBLISHED_MODE = 0o440
SHARDS = tuple(f"{number:02x}" for number in range(256))


class DataFolder:
    """Opened once at start. Everything below it is then reached through `descriptor`, so that nobody can put another
    folder in its place meanwhile."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._descriptor: int | None = None
        self._lock: int | None = None

    @property
    def descriptor(self) -> int:
        """Of the data folder, for `dir_fd=`."""
        assert self._descriptor is not None, "the data folder is not open"  # noqa: S101 - a slip of ours, not of a user
        return self._descriptor

    @property
    def locks_file(self) -> Path:
        """In which single uploads are locked."""
        return self.root / "locks"

    @property
    def bell_file(self) -> Path:
        """By which whoever relays is woken."""
        return self.root / "bell"

    def open(self) -> None:
        """Take the lock and make the layout. Raises `StorageFailed`."""
        with self._failing():
            self._make_root()
            self._reach()
            self._take_lock()
            self._make_layout()

    def attach(self) -> None:
        """Reach a folder that a server may be using at the same time. Raises `StorageFailed` if none ever did."""
        with self._failing():
            self._reach()
            _own_folder(self.root)
            fsio.stat(self.root / "lock")

    def check_owner(self) -> None:
        """Raises `StorageFailed` if it belongs to another user: files made in it would not be the server's."""
        with self._failing():
            _own_folder(self.root)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageFailed(f"{error.filename or self.root}: {error.strerror}.") from error

    def _reach(self) -> None:
        self._descriptor = fsio.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _make_layout(self) -> None:
        for name in ("incoming", "audio", "orphans"):
            self._make(self.root / name)
        for shard in SHARDS:
            self._make(self.root / "audio" / shard)
        _sync_folder("audio", self.descriptor)
        fsio.fsync(self.descriptor)

    def close(self) -> None:
        """Give the lock and the descriptor back."""
        for descriptor in (self._descriptor, self._lock):
            if descriptor is not None:
                fsio.close(descriptor)
        self._descriptor = self._lock = None

    def _make_root(self) -> None:
        """A folder that is there already keeps its mode: others may rely on it."""
        try:
            fsio.makedirs(self.root, FOLDER_MODE)
        except FileExistsError:
            if _own_folder(self.root) & stat.S_IWOTH:
                raise StorageFailed(f"Every user may write to {self.root}; take that away with chmod o-w.") from None
        else:
            fsio.chmod(self.root, FOLDER_MODE)  # The umask may have taken some of it.

    def _make(self, folder: Path) -> None:
        with suppress(FileExistsError):
            fsio.mkdir(folder, FOLDER_MODE)
        if _own_folder(folder) != FOLDER_MODE:
            fsio.chmod(folder, FOLDER_MODE)

    def _take_lock(self) -> None:
        self._lock = fsio.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PART_MODE)
        try:
            fsio.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageFailed(f"Another server is using the data folder {self.root}.") from None


def _own_folder(folder: Path) -> int:
    """The mode of a folder that belongs to the server's user. Raises `StorageFailed` for anything else, and OSError."""
    found = fsio.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise StorageFailed(f"{folder} is not a folder.")
    if found.st_uid != os.geteuid():
        raise StorageFailed(f"{folder} belongs to another user.")
    return found.st_mode & 0o777


def open_for_reading(name: str, root: int) -> int:
    """A descriptor of a file, but not of what a link leads to. `name` is relative to the descriptor `root`. Raises
    OSError."""
    return fsio.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=root)


def open_folder(name: str, root: int) -> int:
    """A descriptor of a folder, but not of what a link leads to. `name` is relative to the descriptor `root`. Raises
    OSError."""
    return fsio.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root)


def _sync_folder(name: str, root: int) -> None:
    descriptor = open_folder(name, root)
    try:
        fsio.fsync(descriptor)
    finally:
        fsio.close(descriptor)
