"""The blocking side of one append: each method is one hop to a worker thread."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress

from maie_aiohttp.errors import Damaged, StorageFailed
from maie_aiohttp.interfaces import Chunk, Conclude, Observe
from maie_aiohttp.stores import fsio
from maie_aiohttp.stores.folder import PART_MODE, PUBLISHED_MODE, open_for_reading

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class PartFile:
    """A file below `incoming/`, written from an offset on. It is opened by the first hop that has bytes for it, so
    that a small upload costs one hop in all."""

    def __init__(
        self,
        root: int,
        locator: str,
        offset: int,
        observe: Observe,
        conclude: Conclude,
        take_back: Callable[[str], None],
    ) -> None:
        """`take_back` is called for a file that has another name yet: it was published."""
        self._root = root
        self._locator = locator
        self._observe = observe
        self._conclude = conclude
        self._take_back = take_back
        self._descriptor: int | None = None
        self._is_closed = False
        self._last: Chunk = b""
        """The last block, in which the end of a small upload can be read without a system call."""
        self._position = offset
        self._passed_on = offset
        self._passed_on_at = time.monotonic()

    def write(self, block: Chunk) -> None:
        """Show the block to the checks, then write it. Raises what the checks raise, and OSError."""
        self._observe(block)
        self._write_fully(block)

    @property
    def pending(self) -> int:
        """Bytes written since `begin_sync`."""
        return self._position - self._passed_on

    @property
    def pending_for(self) -> float:
        """Seconds since then, or since it began."""
        return time.monotonic() - self._passed_on_at

    def sync(self) -> int:
        """Make durable what is written. Returns the size in bytes, without what another thread writes meanwhile. Raises
        OSError."""
        size = self._position
        fsio.fdatasync(self._open())
        return size

    def begin_sync(self) -> None:
        """Let the disk begin with what is written, without waiting for it."""
        if fsio.posix_fadvise is not None:
            fsio.posix_fadvise(self._open(), self._passed_on, self.pending, os.POSIX_FADV_DONTNEED)
        self._passed_on = self._position
        self._passed_on_at = time.monotonic()

    def finish(self, block: Chunk) -> int:
        """Write the last block, let the checks conclude, and make everything durable and read-only. Returns the size
        in bytes."""
        if block:
            self.write(block)
        self._last = block
        self._conclude(self)
        fsio.fchmod(self._open(), PUBLISHED_MODE)
        size = self.sync()
        self.close()
        return size

    @property
    def size(self) -> int:
        """Bytes written, and those before the offset."""
        return self._position

    def read(self, start: int, size: int) -> bytes:
        """What was written there, up to `size` bytes. Raises OSError."""
        within = start - (self._position - len(self._last))
        if within < 0:
            return fsio.pread(self._open(), size, start)
        return bytes(self._last[within : within + size])

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing. Whatever an executor still has to do by then, although
        it said that it could not, finds nothing to write to: the file may be another's."""
        self._is_closed = True
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:  # given back even where closing fails: by then, it may be another's
            fsio.close(descriptor)

    def _write_fully(self, block: Chunk) -> None:
        descriptor = self._open()
        view = memoryview(block)
        while view:
            written = fsio.write(descriptor, view)
            self._position += written
            view = view[written:]

    def _open(self) -> int:
        if self._is_closed:
            raise StorageFailed("The upload has ended.")
        if self._descriptor is None:
            self._descriptor = self._made() if self._position == 0 else self._found()
        return self._descriptor

    def _made(self) -> int:
        """A new file; or the one that is there, where an upload begins in a place that was made for it."""
        with suppress(FileExistsError):
            return fsio.open(self._locator, _FLAGS | os.O_CREAT | os.O_EXCL, PART_MODE, dir_fd=self._root)
        return self._found()

    def _found(self) -> int:
        try:
            descriptor = self._opened()
        except FileNotFoundError:
            raise Damaged("Bytes of the upload are missing.") from None
        try:
            self._cut(descriptor)
        except BaseException:
            fsio.close(descriptor)
            raise
        return descriptor

    def _opened(self) -> int:
        with suppress(PermissionError):
            return fsio.open(self._locator, _FLAGS, dir_fd=self._root)
        self._make_writable()
        return fsio.open(self._locator, _FLAGS, dir_fd=self._root)

    def _make_writable(self) -> None:
        """Every append ends with a file that is read-only; this is not the first one."""
        descriptor = open_for_reading(self._locator, self._root)
        try:
            fsio.fchmod(descriptor, PART_MODE)
        finally:
            fsio.close(descriptor)

    def _cut(self, descriptor: int) -> None:
        """Go on at the offset, whatever stands behind it."""
        found = fsio.fstat(descriptor)
        if found.st_nlink > 1:
            self._take_back(self._locator)
        if not stat.S_ISREG(found.st_mode):
            raise StorageFailed("Something that is not a file stands where the upload should go.")
        if found.st_size < self._position:
            raise Damaged("Bytes of the upload are missing.")
        fsio.ftruncate(descriptor, self._position)
        fsio.lseek(descriptor, self._position, os.SEEK_SET)
