"""The abusive bodies again, through proxies: the server says what a body is refused for, and serves on."""

from __future__ import annotations

import asyncio

import pytest

from tests.protocols.test_expect import EXPECT, REFUSED
from tests.protocols.test_form_framing import (
    test_boundaries_that_the_rules_forbid,
    test_broken_forms_leave_no_trace,
    test_one_refused_file_refuses_the_form,
    test_text_fields_out_of_bounds,
)
from tests.protocols.test_raw_framing import CHUNKED, FORBIDDEN
from tests.protocols.test_resumable import received
from tests.proxies.fronts import RECOMMENDED
from tests.stall import BODIES
from tests.wire import FORM, WAV, Edge, Wire, chunked, file, request

__all__ = [
    "test_boundaries_that_the_rules_forbid",
    "test_broken_forms_leave_no_trace",
    "test_one_refused_file_refuses_the_form",
    "test_text_fields_out_of_bounds",
]

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMING = {name for name, (_, answer) in FORBIDDEN.items() if answer[1] == "bad-request"} | {
    "gzip, chunked",
    "chunked in HTTP/1.0",
}
"""Wrong already for who passes it on."""
MENDED = {"length and chunks": 201, "obs-fold": 201, "chunked in HTTP/1.0": 422}
"""What Caddy reads, and makes one request of that the rules allow; the last one without its body."""
CANNOT_READ = {400, 501, 502}
"""What proxies say of that. 502 is Caddy's word for a body of its client's that is broken."""
LOST = 0
"""The connection, with the answer."""
NO_HTTP = "no HTTP"
"""Some proxies wait for more of it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test with each proxy."""
    metafunc.parametrize("reached", RECOMMENDED, ids=str, indirect=True)


async def final(wire: Wire) -> int:
    """The status of the answer, behind interim ones."""
    try:
        while (status := (await wire.answer()).status) < 200:
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        return LOST
    return status


@pytest.mark.parametrize("name", [name for name in FORBIDDEN if name != NO_HTTP])
async def test_requests_that_the_rules_forbid(edge: Edge, name: str) -> None:
    """Those that a proxy can read get the server's answer."""
    bad, (status, _) = FORBIDDEN[name]
    async with Wire.connect(edge.client) as wire:
        wire.send(bad)
        heard = await final(wire)
    assert heard in ({*CANNOT_READ, LOST, MENDED.get(name)} if name in FRAMING else {status})
    assert len(await edge.stored()) == (heard == 201)


@pytest.mark.parametrize("name", BODIES)
async def test_huge_bodies(edge: Edge, name: str) -> None:
    """Answered, or cut off; and nothing but a recording is stored."""
    body = BODIES[name]()
    async with Wire.connect(edge.client) as wire:
        wire.send(body)
        status = await final(wire)
    assert status < 500 or status in CANNOT_READ
    assert len(await edge.stored()) == (status == 201)


@pytest.mark.parametrize("name", [name for name, (head, _) in REFUSED.items() if EXPECT.encode() in head])
async def test_what_the_header_decides_is_answered_before_the_body(edge: Edge, name: str) -> None:
    """Also where a proxy has asked for the body by then."""
    head, (status, _) = REFUSED[name]
    async with Wire.connect(edge.client) as wire:
        wire.send(head)
        assert await final(wire) in {status, 501}
    await edge.assert_untouched()


@pytest.mark.parametrize("header", ["X: raw", FORM])
@pytest.mark.parametrize("coding", ["sized", "chunked"])
async def test_a_client_lost_in_the_middle_leaves_nothing(edge: Edge, coding: str, header: str) -> None:
    body = (file() if header == FORM else WAV)[:-100]
    async with Wire.connect(edge.client) as wire:
        if coding == "sized":
            wire.send(request(f"Content-Length: {len(body) + 200}", header, body=body))
        else:
            wire.send(request(CHUNKED, header, body=chunked([body])[:-5]))
        await received(edge, 1)
    await edge.assert_nothing_stays()
