"""What clients write into header fields, made safe; what this server writes, readable by others."""

from __future__ import annotations

import base64
import re
import unicodedata
from contextlib import suppress

import pytest
from aiohttp.multipart import content_disposition_filename, parse_content_disposition
from hypothesis import given
from hypothesis import strategies as st

from maie_aiohttp.errors import Malformed
from maie_aiohttp.web.headers import (
    LONGEST_KEY,
    attachment,
    declared_digests,
    display_name,
    idempotency_key,
    is_plain,
    repr_digest,
)

ANY_TEXT = st.text(st.characters(codec=None), max_size=400)
"""Surrogates included."""

TRICKY = st.text(st.sampled_from("a.é\u0301/\\\u202e\u2028\0\r\n\x1b\ud800 😀\"';%"), max_size=300)


@given(ANY_TEXT | TRICKY)
def test_a_display_name_is_fit_for_showing(raw: str) -> None:
    name = display_name(raw)
    if name is None:
        return
    assert 0 < len(name.encode()) <= 255
    assert name.isprintable() or "\xa0" in name or any(unicodedata.category(character) == "Zs" for character in name)
    assert not {"/", "\\"} & set(name)
    assert name.strip(". ")
    assert name == name.strip()
    assert unicodedata.is_normalized("NFC", name)
    assert display_name(name) == name


@given(st.text(st.characters(categories=["L", "N"], codec="utf-8"), min_size=1, max_size=50))
def test_an_ordinary_name_stays_as_it_is(stem: str) -> None:
    name = unicodedata.normalize("NFC", f"{stem}.wav")
    assert display_name(name) == name


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (None, None),
        ("", None),
        (" . ", None),
        ("../..", None),
        ("C:\\music\\a.wav", "a.wav"),
        ("/etc/a.wav", "a.wav"),
        ("a.wav/", None),
        ("e\u200d\u0301.wav", "é.wav"),
        ("a\ud800.wav", "a?.wav"),
        ("é" * 300 + ".flac", "é" * 125 + ".flac"),
        ("x" * 300, "x" * 255),
        ("x." + "y" * 300, "x." + "y" * 253),
        ("x" * 250 + "     y.wav", "x" * 250 + ".wav"),
    ],
)
def test_display_names(raw: str | None, shown: str | None) -> None:
    assert display_name(raw) == shown


@given(ANY_TEXT | TRICKY)
def test_an_attachment_tells_the_name_and_nothing_more(raw: str) -> None:
    name = display_name(raw)
    field = attachment(name)
    assert field.isascii()
    assert field.isprintable()
    kind, parameters = parse_content_disposition(field)
    assert kind == "attachment"
    assert content_disposition_filename(parameters) == name
    assert parameters.keys() <= {"filename", "filename*"}


@given(st.lists(ANY_TEXT | st.text(st.sampled_from('sha-256=:AQ,;()?"\t ')), max_size=3))
def test_digest_fields_are_read_or_refused(fields: list[str]) -> None:
    with suppress(Malformed):
        assert set(declared_digests(fields)) <= {"sha256", "sha512"}


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_digests_are_found_among_others(short: bytes, long: bytes) -> None:
    def member(content: bytes) -> str:
        return f":{base64.b64encode(content).decode()}:"

    one = f"md5={member(b'x')}, sha-256={member(short)};q=0.5,\tunixsum={member(b'y')}"
    assert declared_digests([one, f"sha-512={member(long)}"]) == {"sha256": short, "sha512": long}
    if short != long:
        with pytest.raises(Malformed):
            declared_digests([one, f"sha-256={member(long)}"])


def test_the_digest_of_an_answer_can_be_sent_back() -> None:
    assert declared_digests([repr_digest("ab" * 32)]) == {"sha256": b"\xab" * 32}


@pytest.mark.parametrize(
    ("codings", "plain"),
    [([], True), (["identity"], True), (["Identity"], True), (["gzip"], False), (["identity", "br"], False)],
)
def test_codings(codings: list[str], plain: bool) -> None:
    assert is_plain(codings) is plain


PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


@given(st.text(PRINTABLE, min_size=1, max_size=LONGEST_KEY))
def test_every_printable_text_is_a_key(text: str) -> None:
    quoted = '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    assert idempotency_key([quoted]) == idempotency_key([f" {quoted};a=1;b "]) == text


@given(st.text("".join(sorted(set(PRINTABLE) - set(' ",;\\'))), min_size=1, max_size=LONGEST_KEY) | st.uuids().map(str))
def test_a_key_needs_no_quotes(text: str) -> None:
    assert idempotency_key([text]) == idempotency_key([f'"{text}"']) == text


@given(st.lists(ANY_TEXT | st.text('"\\;,=a%?:@ \t\0é', max_size=300), max_size=3))
def test_a_key_is_short_and_printable_or_none(fields: list[str]) -> None:
    with suppress(Malformed):
        key = idempotency_key(fields)
        assert (key is None) is (fields == [])
        assert key is None or (key.isascii() and key.isprintable() and 0 < len(key) <= LONGEST_KEY)
