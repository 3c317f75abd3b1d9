"""Webhooks: what is sent, and receivers that are wrong, slow, hostile, or in the wrong place."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from maie_aiohttp.addresses import is_public
from maie_aiohttp.errors import Undeliverable, Undelivered
from maie_aiohttp.web.records import as_json
from tests.handoffs.sides import ROOT, SECRET, Receiver, WebhookSide, event, webhook

OTHER_SECRET = "whsec_" + "C" * 40


@pytest.fixture
def side(webhook_side: WebhookSide) -> WebhookSide:
    """A receiver, and a target that leads there."""
    return webhook_side


@asynccontextmanager
async def saying(*answers: bytes, endless: bytes = b"") -> AsyncIterator[str]:
    """Somebody on a port who waits for a request, says these bytes, and then perhaps something again and again."""

    speaking: set[asyncio.Task[None] | None] = set()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        speaking.add(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.writelines(answers)
            while endless:
                writer.write(endless)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    await asyncio.gather(*filter(None, speaking))


async def told(url: str, **changes: Any) -> None:
    """Deliver one event there."""
    target = webhook(url, **changes)
    try:
        await target.deliver(event())
    finally:
        await target.close()


async def refused(url: str, **changes: Any) -> str:
    """Why an event cannot be delivered there now."""
    with pytest.raises(Undelivered) as raised:
        await told(url, **changes)
    return str(raised.value)


async def test_a_cloud_event_of_the_record(side: WebhookSide) -> None:
    sent = event(owner="hearings")
    await side.handoff.deliver(sent)
    (call,) = side.receiver.calls
    assert call.headers["Content-Type"] == "application/cloudevents+json"
    assert json.loads(call.body) == {
        "specversion": "1.0",
        "id": sent.id,
        "source": f"{ROOT}/v1/uploads",
        "type": "upload.stored",
        "subject": str(sent.upload.id),
        "time": "2026-03-01T12:00:00.000000Z",
        "datacontenttype": "application/json",
        "data": as_json(sent.upload, ROOT),
    }


async def test_signed_as_standard_webhooks_wants_it(side: WebhookSide) -> None:
    sent = event()
    await side.handoff.deliver(sent)
    (call,) = side.receiver.calls
    assert call.headers["webhook-id"] == sent.id
    Webhook(SECRET).verify(call.body, dict(call.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(call.body, dict(call.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(call.body + b" ", dict(call.headers))


async def test_signed_with_each_secret(side: WebhookSide) -> None:
    await told(side.receiver.url, secrets=[SECRET, OTHER_SECRET])
    (call,) = side.receiver.calls
    for secret in (SECRET, OTHER_SECRET):
        Webhook(secret).verify(call.body, dict(call.headers))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
async def test_any_success_acknowledges(side: WebhookSide, status: int) -> None:
    side.receiver.answer = lambda _: asyncio.sleep(0, web.Response(status=status))
    await side.handoff.deliver(event())


@pytest.mark.parametrize("status", [400, 401, 404, 408, 413, 429, 500, 502, 503, 504, 599])
async def test_fault_49_anything_else_is_tried_again(side: WebhookSide, status: int) -> None:
    side.receiver.answer = lambda _: asyncio.sleep(0, web.Response(status=status))
    with pytest.raises(Undelivered, match=str(status)) as raised:
        await side.handoff.deliver(event())
    assert raised.value.retry_after is None


async def test_gone_is_for_good(side: WebhookSide) -> None:
    side.receiver.answer = lambda _: asyncio.sleep(0, web.Response(status=410))
    with pytest.raises(Undeliverable):
        await side.handoff.deliver(event())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(side: WebhookSide, status: int) -> None:
    elsewhere = Receiver()
    await elsewhere.start()
    side.receiver.answer = lambda _: asyncio.sleep(0, web.Response(status=status, headers={"Location": elsewhere.url}))
    with pytest.raises(Undelivered, match=str(status)):
        await side.handoff.deliver(event())
    await elsewhere.stop()
    assert elsewhere.calls == []


def in_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("120", 120, 120),
        ("0", 0, 0),
        pytest.param(in_a_minute(), 0, 60, id="in a minute"),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
        ("soon", None, None),
        ("-1", None, None),
        ("1e9", None, None),
        ("9" * 400, None, None),
        ("١٢", None, None),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None, None),
    ],
)
async def test_it_may_say_when(side: WebhookSide, text: str, least: float | None, most: float | None) -> None:
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: " + text.encode() + b"\r\n\r\n"
    async with saying(head) as url:
        with pytest.raises(Undelivered) as raised:
            await told(url)
    found = raised.value.retry_after
    assert (found is None) if least is None or most is None else (found is not None and least <= found <= most)


async def test_fault_49_answering_twice_acknowledges_once(side: WebhookSide) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with saying(answer, answer) as url:
        target = webhook(url)
        for _ in range(3):
            await target.deliver(event())
        await target.close()


async def test_a_body_without_end_is_not_read(side: WebhookSide) -> None:
    async with saying(b"HTTP/1.1 200 OK\r\n\r\n", endless=b"x" * 65_536) as url:
        await told(url)
    async with saying(b"HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n", endless=b"x" * 65_536) as url:
        assert "500" in await refused(url)


@pytest.mark.parametrize(
    ("answers", "endless"),
    [
        ([b"220 smtp.example.org ESMTP\r\n"], b""),
        ([], b""),
        ([b"HTTP/1.1 200"], b""),
        ([b"HTTP/1.1 200 OK\r\n"], b"X: " + b"y" * 4096),
        ([b"HTTP/1.1 200 OK\r\n"], b"X: y\r\n" * 100),
        ([b"HTTP/1.1 999999 OK\r\n\r\n"], b""),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], b""),
        ([], b"HTTP/1.1 100 Continue\r\n\r\n" * 10),
    ],
    ids=["another protocol", "nothing", "half a line", "a line", "headers", "status", "length", "continue"],
)
async def test_what_is_no_answer_is_none(answers: list[bytes], endless: bytes) -> None:
    async with saying(*answers, endless=endless) as url:
        reason = await refused(url)
    assert reason.isprintable()


async def test_cookies_are_not_kept(side: WebhookSide) -> None:
    side.receiver.answer = lambda _: asyncio.sleep(0, web.Response(headers={"Set-Cookie": "a=b"}))
    for _ in range(2):
        await side.handoff.deliver(event())
    assert not any("Cookie" in call.headers for call in side.receiver.calls)


async def test_no_proxy_is_taken_from_the_environment(side: WebhookSide, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, side.receiver.url)
    await refused("http://audio.invalid/")
    assert side.receiver.calls == []


# Where it may go


async def lead(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name lead there, in turn: as if whoever owns it changed their mind with each look."""
    turns = iter(addresses * 9)
    real = asyncio.get_running_loop().getaddrinfo

    async def getaddrinfo(_: object, *args: Any, **kwargs: Any) -> Any:
        return await real(next(turns), *args, **{**kwargs, "flags": socket.AI_NUMERICHOST})

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"])
async def test_this_machine_is_not_reached_unless_that_is_allowed(side: WebhookSide, host: str) -> None:
    url = f"http://{host}:{side.receiver.port}/"
    await refused(url, private_networks=[])
    assert side.receiver.calls == []


async def test_a_name_that_leads_to_a_private_address_is_not_followed(
    side: WebhookSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked up when the connection is made: whatever the name led to before does not count."""
    await lead(monkeypatch, "127.0.0.1")
    reason = await refused(f"http://rebind.example.org:{side.receiver.port}/", private_networks=["10.0.0.0/8"])
    assert "private address" in reason
    assert side.receiver.calls == []


async def test_a_name_that_leads_elsewhere_the_next_time_is_looked_at_again(
    side: WebhookSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lead(monkeypatch, "127.0.0.1", "127.0.0.2")
    target = webhook(f"http://rebind.example.org:{side.receiver.port}/", private_networks=["127.0.0.1"])
    side.receiver.answer = lambda _: asyncio.sleep(0, web.Response(headers={"Connection": "close"}))
    await target.deliver(event())
    target._session.connector.clear_dns_cache()  # type: ignore[union-attr]  # as if ten seconds had passed
    with pytest.raises(Undelivered, match="private address"):
        await target.deliver(event())
    await target.close()
    assert len(side.receiver.calls) == 1


PRIVATE = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 192.0.0.1 192.0.2.1
    192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:a00:1::1 fc00::1
    fd00:ec2::254 fe80::1 ::7f00:1 ::a00:1 fec0::1 ff02::1 2001:db8::1 100::1
"""
PUBLIC = "1.1.1.1 8.8.8.8 192.0.0.9 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1 2606:4700:4700::1111"


@pytest.mark.parametrize("text", PRIVATE.split())
def test_addresses_that_are_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC.split())
def test_addresses_that_are_public(text: str) -> None:
    assert is_public(ip_address(text))


def self_signed(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key", folder / "certificate"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", str(key)]
    subprocess.run(["openssl", "req", *options, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    context = await asyncio.to_thread(self_signed, tmp_path)
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        assert "certificate" in await refused(f"https://127.0.0.1:{port}/")
