"""The outline of a recording: the lowest and the highest sample of each stretch of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from maie_aiohttp.inspection.sound import Samples

FIRST = 16
"""Samples in a stretch, as long as there are few."""

MOST = 20_000
"""Stretches. Where there would be more, each becomes twice as long: so nobody needs to know beforehand how long the
recording plays, and there are half as many at the least."""

FULL_SCALE = 32_767


class Envelope:
    """Sees a recording, block by block."""

    def __init__(self) -> None:
        self.stretch = FIRST
        """Samples."""
        self._pairs = np.zeros((MOST, 2), np.float32)
        self._count = 0
        self._rest = np.zeros(0, np.float32)
        """Samples of a stretch that is not full yet."""

    def see(self, block: Samples) -> None:
        """The next one, all channels together."""
        sound = np.concatenate((self._rest, block.mean(axis=0)))
        at = 0
        while len(sound) - at >= self.stretch:
            stretches = min((len(sound) - at) // self.stretch, MOST - self._count)
            end = at + stretches * self.stretch
            self._add(sound[at:end].reshape(stretches, self.stretch))
            at = end
        self._rest = sound[at:]

    def pairs(self) -> NDArray[np.int16]:
        """A row of two for each stretch, of 16 bits; the last may be shorter than the others."""
        if len(self._rest):
            self._add(self._rest.reshape(1, -1))
            self._rest = self._rest[:0]
        return np.clip(np.rint(self._pairs[: self._count] * FULL_SCALE), -FULL_SCALE - 1, FULL_SCALE).astype("<i2")

    def _add(self, stretches: NDArray[np.float32]) -> None:
        end = self._count + len(stretches)
        self._pairs[self._count : end, 0] = stretches.min(axis=1)
        self._pairs[self._count : end, 1] = stretches.max(axis=1)
        self._count = end
        if end == MOST:
            self._halve()

    def _halve(self) -> None:
        """Two stretches become one."""
        self._count = MOST // 2
        self._pairs[: self._count, 0] = self._pairs[:, 0].reshape(-1, 2).min(axis=1)
        self._pairs[: self._count, 1] = self._pairs[:, 1].reshape(-1, 2).max(axis=1)
        self.stretch *= 2
