"""What tus clients write into header fields: read exactly, or refused."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from maie_aiohttp.errors import Malformed
from maie_aiohttp.protocols import tus_fields as fields

ID = UUID("0b6ce6d1-9be0-4b3e-8a54-3a9b3f2f7c11")
OTHER = UUID("0b6ce6d1-9be0-4b3e-8a54-3a9b3f2f7c12")

ANY_TEXT = st.text(st.characters(codec=None), max_size=400)
"""Surrogates included."""

TRICKY = st.text(st.sampled_from("filename=partial;sh1 ,+-_/AZ09\t\r\n\0é\udcff٣"), max_size=80)

KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1)

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))

PREFIXES = st.sampled_from(
    ("", "/behind/a/proxy", "https://example.org", "http://[::1]:8080/a%20b", "//example.org", "..", "/v1/uploads")
)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def length_given(text: str) -> int | None:
    return fields.length(text, None)


def length_deferred(text: str) -> int | None:
    return fields.length(None, text)


PARSERS: Sequence[Callable[[str], object]] = (
    fields.number,
    length_given,
    length_deferred,
    fields.metadata,
    fields.parts,
    fields.checksum,
)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=ANY_TEXT | TRICKY | st.builds("{}{}".format, st.sampled_from(("sha1 ", "final;", "filename ")), ANY_TEXT))
@example("9" * 5000)
def test_any_text_is_read_or_refused(parse: Callable[[str], object], text: str) -> None:
    with suppress(Malformed):
        parse(text)


def test_a_field_is_there_once() -> None:
    headers = CIMultiDictProxy(CIMultiDict([("upload-length", "1"), ("upload-offset", "1"), ("Upload-Offset", "1")]))
    assert fields.only(headers, "Upload-Length") == "1"
    assert fields.only(headers, "Upload-Concat") is None
    with pytest.raises(Malformed):
        fields.only(headers, "Upload-Offset")


@given(st.integers(min_value=0, max_value=10**40 - 1))
def test_numbers(value: int) -> None:
    assert fields.number(str(value)) == value
    assert fields.length(str(value), None) == value


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1 ", "1_000", "1.0", "1e3", "0x10", "1,1", "1\n", "٣", "²", "nan", "1" * 41]
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(Malformed):
        fields.number(text)


def test_a_length_can_be_told_later() -> None:
    assert fields.length(None, "1") is None


@pytest.mark.parametrize(
    ("given_length", "deferred"),
    [(None, None), ("10", "1"), ("10", "0"), (None, "0"), (None, "2"), (None, ""), (None, "true"), (None, "01")],
)
def test_lengths_that_say_too_little_or_too_much(given_length: str | None, deferred: str | None) -> None:
    with pytest.raises(Malformed):
        fields.length(given_length, deferred)


@given(st.dictionaries(KEYS, WORDS, min_size=1), st.sampled_from((",", ", ", " ,", ",\t")))
def test_metadata_survives_the_journey(pairs: dict[str, str], separator: str) -> None:
    text = separator.join(f"{key} {encoded(value.encode())}" for key, value in pairs.items())
    assert fields.metadata(text.strip()) == pairs


@given(st.binary())
def test_values_may_hold_any_bytes(content: bytes) -> None:
    value = fields.metadata(f"key {encoded(content)}")["key"]
    assert "\0" not in value
    assert value == value.encode().decode()


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("is_confidential", {"is_confidential": ""}),
        ("is_confidential ", {"is_confidential": ""}),
        ("filename YS53YXY=,is_confidential", {"filename": "a.wav", "is_confidential": ""}),
        ("Name YQ==,name Yg==", {"Name": "a", "name": "b"}),
        ("key /w==", {"key": "\ufffd"}),
        ("key YQBi", {"key": "a\ufffdb"}),
    ],
)
def test_metadata(text: str, pairs: Mapping[str, str]) -> None:
    assert fields.metadata(text) == pairs


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "a,",
        ",a",
        "a,,b",
        "a YQ==,a Yg==",
        "a,a",
        "é YQ==",
        "a\x7f YQ==",
        "a\0b",
        "a\tYQ==",
        "a  YQ==",
        "a Y Q==",
        "a YQ",
        "a YQ=",
        "a YQ===",
        "a YWJj=",
        "a =",
        "a Y===",
        "a YQ==YQ==",
        "a _-8=",
        "a YQ==\n",
        "a é",
    ],
)
def test_what_is_no_metadata(text: str) -> None:
    with pytest.raises(Malformed):
        fields.metadata(text)


def test_a_partial_upload_has_no_parts() -> None:
    assert list(fields.parts("partial")) == []


@given(st.lists(st.tuples(PREFIXES, st.uuids()), min_size=1, max_size=20))
def test_parts_in_their_order(named: list[tuple[str, UUID]]) -> None:
    text = "final;" + " ".join(f"{prefix}/v1/uploads/{id}" for prefix, id in named)
    assert list(fields.parts(text)) == [id for _, id in named]


def test_a_part_may_be_used_twice() -> None:
    text = f"final;/v1/uploads/{ID} /v1/uploads/{OTHER} /v1/uploads/{ID}"
    assert list(fields.parts(text)) == [ID, OTHER, ID]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Partial",
        "partial;",
        f"partial;/v1/uploads/{ID}",
        "final",
        "final;",
        "final; ",
        f"Final;/v1/uploads/{ID}",
        f"final /v1/uploads/{ID}",
        f"final;/v1/uploads/{ID} ",
        f"final;/v1/uploads/{ID}  /v1/uploads/{ID}",
        f"final;/v1/uploads/{ID},/v1/uploads/{ID}/",
        f"final;/v1/uploads/{ID}/",
        f"final;/v1/uploads/{ID}/content",
        f"final;/v1/uploads/{ID}?x",
        f"final;/v1/uploads/{ID}\n",
        f"final;/?/v1/uploads/{ID}",
        f"final;/#/v1/uploads/{ID}",
        f"final;é/v1/uploads/{ID}",
        f"final;/v1/uploads/{str(ID).upper()}",
        f"final;/v1/uploads/{ID.hex}",
        f"final;/v1/uploads/{{{ID}}}",
        f"final;{ID}",
        f"final;v1/uploads/{ID}",
        "final;/v1/uploads/../../etc/passwd",
        f"final;/v1/uploads/../{ID}",
        f"final;/v1/uploads/%2e%2e/{ID}",
        f"final;/files/{ID}",
    ],
)
def test_what_puts_nothing_together(text: str) -> None:
    with pytest.raises(Malformed):
        fields.parts(text)


@pytest.mark.parametrize("algorithm", fields.DIGEST_SIZES)
@given(content=st.binary())
def test_checksums(algorithm: str, content: bytes) -> None:
    digest = hashlib.new(algorithm, content, usedforsecurity=False).digest()
    assert fields.checksum(f"{algorithm} {encoded(digest)}") == {algorithm: digest}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha1",
        "sha1 ",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0",
        "sha1 Kq5sNclPz7QV2-lfQIuc6R7oRu0=",
        "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0= ",
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=,md5 XrY7u+Ae7tCTyyK7j1rNww==",
        "sha1,Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha-1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "md5 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "crc32 DUoRhQ==",
        "Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    ],
)
def test_what_is_no_checksum(text: str) -> None:
    with pytest.raises(Malformed):
        fields.checksum(text)


@given(st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)))
def test_an_expiry_is_never_later_than_it_is(moment: datetime) -> None:
    assert parsedate_to_datetime(fields.expires(moment)) == moment.replace(microsecond=0)


def test_an_expiry_is_an_http_date() -> None:
    moment = datetime(2014, 6, 25, 18, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert fields.expires(moment) == "Wed, 25 Jun 2014 16:00:00 GMT"
