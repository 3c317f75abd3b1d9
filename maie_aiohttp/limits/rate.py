"""How often one address may ask: a token bucket for each, in memory that does not grow with their number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from time import monotonic

REMEMBERED = 20_000
"""Buckets that are not full: at 200 bytes each, 4 MB. Beyond it, those are forgotten from which nothing was taken for
longest."""

SITE = 64
"""The last bits of an IPv6 address, which one customer, and each of their machines, may choose."""

Address = IPv4Address | IPv6Address


class NoRate:
    """Nothing is limited; see `Rate`."""

    def wait(self, _: Address) -> float:
        """Never."""
        return 0

    def punish(self, _: Address) -> None:
        """Not at all."""


class Rate(NoRate):
    """So many requests a second in the long run, and `burst` after a pause. A bucket is known by when it will be full
    again: those that are full need not be known."""

    def __init__(self, rate: float, burst: float, *, now: Callable[[], float] = monotonic) -> None:
        self._step = 1 / rate
        self._depth = burst / rate
        self._now = now
        self._full_at: OrderedDict[tuple[int, int], float] = OrderedDict()
        """In the order in which something was taken last."""

    def wait(self, address: Address) -> float:
        """Seconds until a request from there may come; 0 if this one may, which then counts."""
        origin, now = _origin(address), self._now()
        wait = max(self._full_at.get(origin, now), now) + self._step - self._depth - now
        if wait > 0:
            return wait
        self._take(origin, self._step)
        return 0

    def punish(self, address: Address) -> None:
        """It came with a wrong key, and counts as if it were a second's requests."""
        self._take(_origin(address), 1)

    def __len__(self) -> int:
        return len(self._full_at)

    def _take(self, origin: tuple[int, int], seconds: float) -> None:
        now = self._now()
        self._full_at[origin] = max(self._full_at.pop(origin, now), now) + seconds
        if len(self._full_at) > REMEMBERED:
            self._full_at.popitem(last=False)


def _origin(address: Address) -> tuple[int, int]:
    """What is the same for all addresses that one client may have."""
    plain = (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
    return (4, int(plain)) if isinstance(plain, IPv4Address) else (6, int(plain) >> SITE)
