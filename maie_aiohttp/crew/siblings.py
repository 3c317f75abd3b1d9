"""What workers of one server tell each other of uploads: datagrams, to those of them who have listeners.

Nobody waits for anybody. Who does not read fast enough finds out that it has missed something. Words are sent at once:
what one worker says of an upload before it answers a client is read before what another says of that client's next
request.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from mmap import mmap
from socket import AF_UNIX, SO_SNDBUF, SOCK_DGRAM, SOL_SOCKET, socketpair
from uuid import UUID

from maie_aiohttp.model import Upload
from maie_aiohttp.progress.events import Count

DATAGRAM = 48 * 1024
"""Bytes of words that are said together, to gather in one; Linux takes at least 208 KiB."""

ON_THE_WAY = 4 * 1024 * 1024
"""Bytes that may wait to be read, where the system allows as many; else 416 KiB, some 400 words."""

YES, NO = 1, 0


@dataclass(frozen=True, slots=True)
class Told:
    """An upload came into a state."""

    name: str
    """A status, or `deleted`."""
    upload: Upload


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An upload without a record is being received."""

    upload: Upload


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Nobody knows what became of an upload without a record."""

    id: UUID


@dataclass(frozen=True, slots=True)
class Question:
    """Which uploads without a record are under way?"""


@dataclass(frozen=True, slots=True)
class Answer:
    """That was all of them."""

    of: int


@dataclass(frozen=True, slots=True)
class Successor:
    """The sender has taken a dead worker's place: what was under way there is not any more."""


Word = Told | UnderWay | Count | Forgotten | Question | Answer | Successor


class Exchange:
    """What all workers of a server have in common; made before the first of them."""

    def __init__(self, count: int) -> None:
        pairs = [socketpair(AF_UNIX, SOCK_DGRAM) for _ in range(count)]
        self.inboxes, self.outboxes = zip(*pairs, strict=True)
        for one in (*self.inboxes, *self.outboxes):
            one.setblocking(False)
            one.setsockopt(SOL_SOCKET, SO_SNDBUF, ON_THE_WAY)
        self.listening = mmap(-1, count)
        """A byte for each: whether it has listeners."""
        self.missed = mmap(-1, count)
        """A byte for each: whether something did not reach it."""


class Siblings:
    """The other workers, as the one with this number sees them."""

    def __init__(self, exchange: Exchange, number: int) -> None:
        self.number = number
        self.others = [other for other in range(len(exchange.inboxes)) if other != number]
        self._exchange = exchange
        self._inbox = exchange.inboxes[number]

    def attend(self, hear: Callable[[Sequence[Word]], None]) -> None:
        """Call `hear` with what is said from now on; what was said to a predecessor is thrown away."""
        self.listen(wanted=False)
        for _ in self._received():
            pass
        self.has_missed()
        asyncio.get_running_loop().add_reader(self._inbox, lambda: hear([*self._heard()]))

    def leave(self) -> None:
        """Hear nothing more."""
        self.listen(wanted=False)
        asyncio.get_running_loop().remove_reader(self._inbox)

    def listen(self, *, wanted: bool) -> None:
        """Whether the others shall tell what happens."""
        self._exchange.listening[self.number] = YES if wanted else NO

    @property
    def are_listening(self) -> bool:
        """Whether any other wants to hear."""
        return any(self._exchange.listening[other] for other in self.others)

    def has_missed(self) -> bool:
        """Whether anything did not get here since the last call."""
        missed = self._exchange.missed[self.number] == YES
        self._exchange.missed[self.number] = NO
        return missed

    def tell(self, words: Iterable[Word]) -> None:
        """Say it to those who listen."""
        if self.are_listening:
            listening = [other for other in self.others if self._exchange.listening[other]]
            for datagram in _datagrams(words):
                self._send_to(listening, datagram)

    def ask(self) -> None:
        """Have the others say what is under way."""
        self._send_to(self.others, pickle.dumps(Question()))

    def _send_to(self, others: Iterable[int], datagram: bytes) -> None:
        for other in others:
            try:
                self._exchange.outboxes[other].send(datagram)
            except OSError:  # it does not keep up, or the datagram is too large
                self._exchange.missed[other] = YES

    def _received(self) -> Iterator[bytes]:
        with suppress(BlockingIOError):
            while True:
                yield self._inbox.recv(1 << 20)

    def _heard(self) -> Iterator[Word]:
        for datagram in self._received():
            words = BytesIO(datagram)
            while words.tell() < len(datagram):
                yield pickle.load(words)  # noqa: S301 - from this server's own processes, over a socket without a name


def _datagrams(words: Iterable[Word]) -> Iterator[bytes]:
    gathered = b""
    for word in words:
        gathered += pickle.dumps(word)
        if len(gathered) >= DATAGRAM:
            yield gathered
            gathered = b""
    if gathered:
        yield gathered
