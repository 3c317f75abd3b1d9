"""The blocking side of one reading: each method is one hop to a worker thread."""

from __future__ import annotations

from maie_aiohttp.errors import Damaged
from maie_aiohttp.stores import fsio
from maie_aiohttp.stores.folder import open_for_reading


class Recording:
    """A file of the store. It is opened by the first hop, and knows its descriptor itself: whoever is cancelled during
    that hop would never see it, and could not give it back."""

    def __init__(self, root: int, locator: str) -> None:
        self._root = root
        self._locator = locator
        self._descriptor: int | None = None

    def read(self, start: int, size: int) -> bytes:
        """At least one byte from `start` on, at most `size`. Raises `Damaged` where there is none, and OSError."""
        piece = fsio.pread(self.reach(), size, start)
        if not piece:
            raise Damaged("The stored recording is shorter than it was.")
        return piece

    def reach(self) -> int:
        """The descriptor, from now on of this file, whatever becomes of its name. Raises `Damaged` where there is none,
        and OSError."""
        if self._descriptor is None:
            try:
                self._descriptor = open_for_reading(self._locator, self._root)
            except FileNotFoundError:
                raise Damaged("The stored recording is not there any more.") from None
        return self._descriptor

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:  # given back even where closing fails: by then, it may be another's
            fsio.close(descriptor)
