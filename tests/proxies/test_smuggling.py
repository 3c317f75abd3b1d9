"""No request hides in another (RFC 9112, section 11.2): neither from this server, nor between a proxy and it."""

from __future__ import annotations

import re

import pytest

from tests.proxies.attacks import ATTACKS, FRAMED_TWICE, SMUGGLED, TWO, WAITING
from tests.proxies.fronts import DIRECT, RECOMMENDED, SHARING
from tests.wire import COLLECTION, Edge, Wire, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d) .*?\r\n\r\n", re.DOTALL)
IDENTITY = re.compile(rb"^x-request-id: (\S+)\r$", re.MULTILINE | re.IGNORECASE)

IN_ORDER = ["attack", SMUGGLED, "last"]
LAST = request("X-Request-ID: last", "Connection: close", line="GET /health HTTP/1.1")
VICTIMS = 4


async def answers(edge: Edge, attack: bytes) -> list[tuple[int, str]]:
    """Status and id of each answer to the attack and to an ordinary request behind it. The id is another one, or empty,
    where what was sent was not understood."""
    async with Wire.connect(edge.client) as wire:
        wire.send(attack)
        wire.send(LAST)
        received = await wire.rest()
    return [(int(answer[1]), b"".join(IDENTITY.findall(answer[0])).decode()) for answer in ANSWER.finditer(received)]


async def assert_nobody_is_confused(edge: Edge) -> None:
    """Others get the answers to their own requests."""
    for number in range(VICTIMS):
        name = f"victim-{number}"
        async with edge.client.get(COLLECTION, headers={"X-Request-ID": name}) as answer:
            assert (answer.status, answer.headers["X-Request-ID"]) == (200, name)
            assert "uploads" in await answer.json()


@pytest.mark.parametrize("reached", [DIRECT, *RECOMMENDED, *SHARING], ids=str, indirect=True)
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_every_request_has_one_answer_in_its_turn(edge: Edge, attack: bytes) -> None:
    """What is hidden takes effect only where whoever was sent it took it for a request, and says so."""
    names = [name for _, name in await answers(edge, attack) if name in IN_ORDER]
    await assert_nobody_is_confused(edge)
    assert names == [name for name in IN_ORDER if name in names]
    assert len(await edge.stored()) == names.count(SMUGGLED)


@pytest.mark.parametrize("reached", [DIRECT, *RECOMMENDED, *SHARING], ids=str, indirect=True)
@pytest.mark.parametrize("attack", WAITING.values(), ids=WAITING)
async def test_nothing_hidden_is_awaited(edge: Edge, attack: bytes) -> None:
    answer = await edge.exchange(attack)
    assert answer.status in (400, 408, 413)
    await assert_nobody_is_confused(edge)
    await edge.assert_untouched()


@pytest.mark.parametrize("reached", [DIRECT], ids=str, indirect=True)
@pytest.mark.parametrize("name", ATTACKS)
async def test_this_server_finds_nothing_hidden(edge: Edge, name: str) -> None:
    """Nor does it go on where two meanings are possible."""
    heard = await answers(edge, ATTACKS[name])
    assert len(await edge.stored()) == (name in TWO)
    if name in FRAMED_TWICE:
        assert [status for status, _ in heard] in ([400], [])  # it may be lost with the connection
