"""How long a client is waited for: the rule alone, then at every door."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maie_aiohttp.errors import Draining, TooSlow
from maie_aiohttp.protocols.pace import LATE, SILENT, SLOW, Pace, Patience
from maie_aiohttp.stores import fsio
from tests import audio
from tests.conftest import configure, serving
from tests.layers import MIB
from tests.wire import DEADLINE, FORM, Answer, Edge, Wire, chunked, file, request, sized

IDLE, RATE, WINDOW, TOTAL = 30.0, 500, 60.0, 600.0

waits = st.lists(st.tuples(st.floats(0, 29), st.integers(1, 100_000)), max_size=50)
"""Seconds, and the bytes that came then."""


def usual(idle: float = IDLE, rate: int = RATE, total: float = TOTAL) -> Pace:
    """A pace that nothing was spent of."""
    return Pace(idle=idle, rate=rate, window=WINDOW, total=total)


def survives(pace: Pace, client: Iterable[tuple[float, int]]) -> str:
    """What a client is told in the end; empty if it gets to its end."""
    for seconds, size in client:
        patience, complaint = pace.patience
        if seconds >= patience:
            return complaint
        pace.spend(seconds, size)
    return ""


@given(waits)
def test_who_keeps_the_rate_is_never_too_slow(client: list[tuple[float, int]]) -> None:
    kept = [(seconds, size + int(seconds * RATE) + 1) for seconds, size in client]
    assert survives(usual(total=10_000), kept) == ""


@given(waits)
def test_who_is_not_too_slow_brought_enough(client: list[tuple[float, int]]) -> None:
    pace = usual(total=10_000)
    if survives(pace, client) == "":
        assert sum(size for _, size in client) >= RATE * (sum(seconds for seconds, _ in client) - WINDOW) - 1


@given(waits)
def test_patience_never_ends_earlier_than_was_said(client: list[tuple[float, int]]) -> None:
    """A timer that was set for the end of it can be set again when it goes off."""
    pace, now, end = usual(), 0.0, 0.0
    for seconds, size in client:
        end, before = now + pace.patience[0], end
        assert end >= before - 1e-6
        pace.spend(seconds, size)
        now += seconds


@pytest.mark.parametrize(
    ("pace", "client", "told"),
    [
        (usual(), [(29, 1)], ""),
        (usual(), [(30, 1)], SILENT),
        (usual(), [(1, 0)] * 59, ""),
        (usual(), [(1, 0)] * 60, SLOW),
        (usual(), [(1, 250)] * 118, ""),
        (usual(), [(1, 250)] * 120, SLOW),
        (usual(), [(29, 1_000_000), (29, 1), (29, 1)], ""),
        (usual(), [(29, 1_000_000), (29, 1), (29, 1), (29, 1)], SLOW),
        (usual(), [(1, 1_000_000)] * 599, ""),
        (usual(), [(1, 1_000_000)] * 600, LATE),
        (usual(rate=0), [(20, 1)] * 29, ""),
        (usual(rate=0), [(20, 1)] * 30, LATE),
    ],
)
def test_three_limits(pace: Pace, client: list[tuple[float, int]], told: str) -> None:
    assert survives(pace, client) == told


async def test_one_timer_serves_many_waits() -> None:
    patience = Patience(usual(idle=0.05, total=10))
    for _ in range(20):
        assert await patience.wait(_after(0.01)) == b"x"
    with pytest.raises(TooSlow):
        await patience.wait(_after(DEADLINE))


async def test_what_happens_between_waits_costs_no_patience() -> None:
    patience = Patience(usual(idle=0.05, total=0.2))
    for _ in range(4):
        await asyncio.sleep(0.1)
        assert await patience.wait(_after(0.001)) == b"x"
    patience.end()


async def test_the_first_interruption_counts() -> None:
    patience = Patience(usual())
    waiting = asyncio.create_task(patience.wait(_after(DEADLINE)))
    await asyncio.sleep(0)
    patience.interrupt(Draining("Come back."))
    patience.interrupt(TooSlow("Too late."))
    with pytest.raises(Draining):
        await waiting
    patience.end()


async def test_a_cancelled_wait_is_cancelled() -> None:
    patience = Patience(usual())
    waiting = asyncio.create_task(patience.wait(_after(DEADLINE)))
    await asyncio.sleep(0)
    patience.interrupt(Draining("Come back."))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    patience.end()


def _after(seconds: float) -> Callable[[], asyncio.Future[bytes]]:
    async def arrival() -> bytes:
        await asyncio.sleep(seconds)
        return b"x"

    return lambda: asyncio.ensure_future(arrival())


LONG = b"".join(audio.long_wav(MIB))
HALF = 300_000
MORE = "Upload-Complete: ?0"
BEGINNINGS = {
    "raw": request(f"Content-Length: {MIB}", body=LONG[:HALF]),
    "raw, in chunks": request("Transfer-Encoding: chunked", body=chunked([LONG[:HALF]])[:-5] + b"fffff\r\n"),
    "form, in its preamble": request(f"Content-Length: {MIB}", FORM),
    "form, in a file": request(f"Content-Length: {MIB}", FORM, body=file(LONG)[:HALF]),
}
"""Of uploads that can go on with any byte."""

SLOW_LIMITS = {"min_rate": "1 MB/s", "rate_window": "300 ms"}
LATE_LIMITS = {"min_rate": "0 B/s", "body_timeout": "300 ms"}
BOTH = pytest.mark.parametrize("limits", [SLOW_LIMITS, LATE_LIMITS], ids=["rate", "time"])
"""No limit on silence ends these: there is none."""


@BOTH
@pytest.mark.parametrize("begun", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_who_drips_is_too_slow(folder: Path, limits: dict[str, object], begun: bytes) -> None:
    async with serving(configure(folder, limits=limits, server={"linger": "100 ms"})) as client:
        edge = Edge(client, folder)
        answer = await dripped(edge, begun)
        assert (answer.status, answer.problem, answer.headers["connection"]) == (408, "too-slow", "close")
        await edge.assert_untouched()


@BOTH
@pytest.mark.parametrize("protocol", ["tus", "resumable"])
async def test_what_dripped_in_is_kept(folder: Path, limits: dict[str, object], protocol: str) -> None:
    async with serving(configure(folder, limits=limits, server={"linger": "100 ms"})) as client:
        edge = Edge(client, folder)
        speech = "Tus-Resumable: 1.0.0" if protocol == "tus" else MORE
        begun = await edge.exchange(request(speech, f"Upload-Length: {MIB}", "Content-Length: 0"))
        path = begun.headers["location"]
        typed = "application/offset+octet-stream" if protocol == "tus" else "application/partial-upload"
        head = (speech, f"Content-Type: {typed}", "Upload-Offset: 0", f"Content-Length: {MIB}")
        answer = await dripped(edge, request(*head, line=f"PATCH {path} HTTP/1.1", body=LONG[:HALF]))
        assert (answer.status, answer.problem, answer.headers["connection"]) == (408, "too-slow", "close")
        kept = await edge.exchange(request("Tus-Resumable: 1.0.0", line=f"HEAD {path} HTTP/1.1"))
        offset = int(kept.headers["upload-offset"])
        assert HALF < offset < MIB
        rest = LONG[offset:]
        fields = (speech.replace("?0", "?1"), f"Content-Type: {typed}", f"Upload-Offset: {offset}")
        line = f"PATCH {path} HTTP/1.1"
        ended = await edge.exchange(request(*fields, f"Content-Length: {len(rest)}", line=line, body=rest))
        assert ended.status in (201, 204)
        came = LONG[:HALF] + bytes(offset - HALF) + rest
        assert (await edge.stored())[0]["sha256"] == hashlib.sha256(came).hexdigest()


async def dripped(edge: Edge, begun: bytes) -> Answer:
    """The answer to a request that goes on byte by byte."""
    async with Wire.connect(edge.client) as wire, asyncio.timeout(DEADLINE):
        for piece in chain((begun,), repeat(b"\0")):
            wire.send(piece)
            await asyncio.sleep(0.01)
            if wire.has_answer:
                break
        return await wire.answer()


async def test_a_disk_that_hangs_does_not_make_a_client_slow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends when it is asked to; the server is the one that does not."""
    limits: dict[str, object] = {
        "idle_timeout": "1 s",
        "min_rate": "1 MB/s",
        "rate_window": "1 s",
        "body_timeout": "2 s",
    }
    hanging = iter((0.0, 3.0))
    write = fsio.write

    def slow(descriptor: int, block: bytes) -> int:
        time.sleep(next(hanging, 0.0))
        return write(descriptor, block)

    monkeypatch.setattr(fsio, "write", slow)
    async with serving(configure(folder, limits=limits)) as client:
        assert (await Edge(client, folder).exchange(sized(b"".join(audio.long_wav(32 * MIB))))).status == 201
    assert next(hanging, None) is None
