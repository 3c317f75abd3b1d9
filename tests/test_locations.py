"""Links lead back to the server by the way the client came: as configured, or as a trusted proxy reports it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from maie_aiohttp.web import forwarded
from tests import audio
from tests.conftest import Client, configure, serving
from tests.wire import COLLECTION

OPEN: dict[str, object] = {"without_keys": "anybody"}
HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "audio.example.org"}


async def linked(client: Client, headers: dict[str, str]) -> str:
    """What stands before the path in every link to an upload just made."""
    form = FormData()
    form.add_field("file", audio.sample("wav").content, filename="speech.wav")
    answer = await client.post(COLLECTION, data=form, headers=headers)
    assert answer.status == 201, await answer.text()
    record: dict[str, Any] = (await answer.json())["uploads"][0]
    path = f"{COLLECTION}/{record['id']}"
    location = answer.headers["Location"]
    assert location.endswith(path)
    parts = {part: f"{location}/{part}" for part in ("content", "waveform")}
    assert record["links"] == {"self": location, **parts}
    return location.removesuffix(path)


@pytest.mark.parametrize(
    ("server", "root"),
    [
        ({}, ""),
        ({"public_url": "https://audio.example.org"}, "https://audio.example.org"),
        ({"public_url": "http://example.org:8080/audio/"}, "http://example.org:8080/audio"),
        ({"public_url": "https://example.org", "trusted_proxies": ["127.0.0.1"]}, "https://example.org"),
    ],
)
async def test_links_begin_with_the_public_url(server: dict[str, object], root: str, folder: Path) -> None:
    async with serving(configure(folder, access=OPEN, server=server)) as client:
        assert await linked(client, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}) == root


@pytest.mark.parametrize("networks", [["127.0.0.1"], ["10.0.0.0/8", "127.0.0.0/8"]])
async def test_trusted_proxy_is_believed(networks: list[str], folder: Path) -> None:
    async with serving(configure(folder, access=OPEN, server={"trusted_proxies": networks})) as client:
        assert await linked(client, HTTPS) == "https://audio.example.org"
        assert await linked(client, {"Forwarded": 'proto=http;host="example.org:81"'}) == "http://example.org:81"
        assert await linked(client, {"X-Forwarded-Prefix": "/audio"}) == "/audio"
        assert await linked(client, {}) == ""


@pytest.mark.parametrize("networks", [[], ["10.0.0.0/8", "127.0.0.2", "::1", "::/0"]])
async def test_others_are_not(networks: list[str], folder: Path) -> None:
    async with serving(configure(folder, access=OPEN, server={"trusted_proxies": networks})) as client:
        assert await linked(client, {**HTTPS, "X-Forwarded-Prefix": "/audio"}) == ""
        assert await linked(client, {"Forwarded": "proto=https;host=audio.example.org"}) == ""


# What a proxy's words come to


def reported(*fields: tuple[str, str]) -> str:
    return forwarded.root(CIMultiDict(fields))


@pytest.mark.parametrize(
    ("line", "root"),
    [
        ("host=example.org;proto=https", "https://example.org"),
        ('For="[2001:db8::1]:4711" ; PROTO=HTTPS; Host="Example.org"', "https://example.org"),
        ("for=10.0.0.1:80;host=example.org:8080;proto=http", "http://example.org:8080"),
        ('host="[2001:db8::2]";proto=https', "https://[2001:db8::2]"),
        ("host=[2001:db8::2]:81;proto=http;", "http://[2001:db8::2]:81"),
        (r'proto=https;host="ex\ample.org"', "https://example.org"),
        ("host=evil.example;proto=https, host=example.org;proto=https", "https://example.org"),
        ('host=evil.example;for="a,b;c", host=example.org;proto=https', "https://example.org"),
        ("host=evil.example;proto=https, for=10.0.0.1", ""),
        ("host=evil.example;proto=https,", ""),
        ("host=evil.example", ""),
        ("proto=https", ""),
        ("proto=ftp;host=example.org", ""),
        ("proto=https;host=example.org;host=evil.example", ""),
        ("proto=https;host=example.org/audio", ""),
        ("proto=https;host=", ""),
        ("proto=https;host=user@example.org", ""),
        ('proto=https;host="user@example.org"', ""),
        ('proto=https;host="example.org:99999"', ""),
        ('proto=https;host="[:::]"', ""),
        ('proto=https;host="a b"', ""),
        ('proto=https;host=evil.example;for=", for=10.0.0.1;host="example.org";proto=https', ""),
        ('proto=https;host=evil.example;for="x, for=10.0.0.1;host=example.org;proto=https', ""),
        ("proto = https; host = example.org", ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_standard_field(line: str, root: str) -> None:
    assert reported(("Forwarded", line)) == root


@pytest.mark.parametrize(
    ("scheme", "host", "prefix", "root"),
    [
        ("https", "example.org", "/audio", "https://example.org/audio"),
        ("HTTP", "Example.org:443", "/a/b.c/", "http://example.org:443/a/b.c"),
        ("https", "example.org:443", "", "https://example.org"),
        ("http, https", "evil.example,example.org", "/evil, /audio", "https://example.org/audio"),
        ("https", "example.org,", "/audio,", ""),
        ("https", "", "/audio", "/audio"),
        ("", "example.org", "", ""),
        ("javascript", "example.org", "", ""),
        ("https", "example.org/evil", "", ""),
        ("https", "example.org?", "", ""),
        ("https", "example.org", "//evil.example", "https://example.org"),
        ("", "", "//evil.example", ""),
        ("", "", "/..", ""),
        ("", "", "/a/./b", ""),
        ("", "", "audio", ""),
        ("", "", "/a?b", ""),
        ("", "", "/", ""),
    ],
)
def test_customary_fields(scheme: str, host: str, prefix: str, root: str) -> None:
    fields = {"X-Forwarded-Proto": scheme, "X-Forwarded-Host": host, "X-Forwarded-Prefix": prefix}
    assert reported(*((name, value) for name, value in fields.items() if value)) == root


def test_last_line_counts_where_a_field_has_several() -> None:
    evil, good = "proto=https;host=evil.example", "proto=https;host=example.org"
    assert reported(("Forwarded", evil), ("Forwarded", good)) == "https://example.org"
    assert reported(("X-Forwarded-Host", "evil.example"), *HTTPS.items()) == "https://audio.example.org"


def test_fields_that_contradict_each_other_count_for_nothing() -> None:
    agreed, contrary = "proto=https;host=audio.example.org", "proto=https;host=evil.example"
    assert reported(("Forwarded", agreed), *HTTPS.items()) == "https://audio.example.org"
    assert reported(("Forwarded", contrary), *HTTPS.items()) == ""
    assert reported(("Forwarded", "for=10.0.0.1"), *HTTPS.items()) == "https://audio.example.org"


WORDS = st.text() | st.sampled_from(["https", "http", "example.org", "[::1]", "a:1", "/audio", "//a", "/..", ",", '"'])
LINES = st.lists(
    st.text()
    | st.sampled_from(['host="', "host=", "proto=https", "for=", "example.org", "[::1]:81", '"', "\\", ";", ",", " "])
).map("".join)
PLAIN = re.compile(r"(https?://[a-z0-9_.:\[\]-]+)?(/[A-Za-z0-9._~-]+)*")


@given(line=LINES, words=st.tuples(WORDS, WORDS, WORDS))
@example(line="", words=("https", "[::1]", "/audio"))
def test_whatever_is_reported_is_an_address_or_nothing(line: str, words: tuple[str, str, str]) -> None:
    names = ("X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix")
    root = reported(("Forwarded", line), *zip(names, words, strict=True))
    assert PLAIN.fullmatch(root)
    assert str(URL(f"{root}/v1")) == f"{root}/v1"


@pytest.mark.parametrize("element", ["for=10.0.0.1;{}", 'for="[::1]:1";{};by="a"'])
@given(before=LINES)
@example(before='proto=https;host=evil.example;by="')
@example(before='proto=https;host=evil.example;by="\\')
def test_nothing_a_client_writes_is_taken_for_the_word_of_the_proxy(element: str, before: str) -> None:
    own = element.format("proto=https;host=audio.example.org")
    assert reported(("Forwarded", f"{before}, {own}")) in ("", "https://audio.example.org")
