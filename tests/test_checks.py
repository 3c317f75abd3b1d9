"""What the bytes of an upload are asked, in whatever pieces they come."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maie_aiohttp.checks import ArchiveTail, Chain, Digest, SizeLimit, Sniff
from maie_aiohttp.errors import DigestMismatch, Empty, NotAudio, Rejected, TooLarge
from maie_aiohttp.formats import FORMATS
from maie_aiohttp.interfaces import HEAD, Check
from tests import audio

CORE = frozenset(format.name for format in FORMATS if format.core)
LONG = b"".join(audio.long_wav(2 * HEAD))

cuts = st.lists(st.integers(0, len(LONG)), max_size=12)


def split(content: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(min(place, len(content)) for place in places), len(content)]
    return (content[start:stop] for start, stop in pairwise(edges))


def findings(check: Check, *chunks: bytes) -> Mapping[str, str] | type[Rejected]:
    """What the check says in the end, or how it refuses."""
    try:
        for chunk in chunks:
            check.feed(bytearray(chunk))
        return check.finish()
    except Rejected as error:
        return type(error)


def archive(comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("payload", b"anything")
        made.comment = comment
    return file.getvalue()


CONTENTS = {
    "long": LONG,
    "just the head": b"".join(audio.long_wav(HEAD)),
    "mp3": audio.sample("mp3").content,
    "ogg": audio.sample("ogg-opus").content,
    "text": b"not a recording at all\n" * 4000,
    "archive behind": LONG[:HEAD] + archive(b"with a comment"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", CONTENTS)
@given(places=cuts)
def test_any_split_gives_the_same_findings(name: str, places: list[int]) -> None:
    content = CONTENTS[name]

    def checks() -> Check:
        return Chain([Sniff(CORE), ArchiveTail(), Digest({"sha512": hashlib.sha512(content).digest()})])

    assert findings(checks(), *split(content, places)) == findings(checks(), content)


def test_findings_of_a_recording() -> None:
    chain = Chain([Sniff(CORE), ArchiveTail(), Digest({})])
    digest = hashlib.sha256(LONG).hexdigest()
    assert findings(chain, LONG) == {"format": "wav", "decode": "", "sha256": digest}


def test_what_the_head_cannot_prove_is_to_be_decoded() -> None:
    found = findings(Sniff(CORE), audio.sample("mp3").content)
    assert found == {"format": "mp3", "decode": "mp3"}


def test_the_verdict_falls_at_the_last_byte_of_the_head() -> None:
    sniff = Sniff(CORE)
    sniff.feed(b"x" * (HEAD - 1))
    with pytest.raises(NotAudio):
        sniff.feed(b"x")


def test_a_format_that_is_not_enabled_is_refused() -> None:
    assert findings(Sniff(CORE - {"wav"}), LONG) is NotAudio


def test_nothing_is_no_recording() -> None:
    assert findings(Sniff(CORE)) is Empty
    assert findings(Sniff(CORE), b"") is Empty


@given(st.lists(st.binary(max_size=40)))
def test_the_limit_is_exact(chunks: list[bytes]) -> None:
    total = sum(map(len, chunks))
    assert findings(SizeLimit(total), *chunks) == {}
    if total:
        assert findings(SizeLimit(total - 1), *chunks) is TooLarge


def test_one_limit_for_several_files() -> None:
    limit = SizeLimit(10)
    assert findings(limit, b"123456") == {}
    assert findings(limit, b"12345") is TooLarge


@pytest.mark.parametrize("comment", [b"", b"a comment", b"c" * 4000])
def test_an_archive_behind_a_recording_is_refused(comment: bytes) -> None:
    assert findings(ArchiveTail(), LONG, archive(comment)) is NotAudio


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"PK",
        b"PK\5\6",
        b"PK\5\6" + bytes(17),
        b"PK\5\6" + bytes(18) + b"samples go on",
        b"PK\5\6" + bytes(16) + struct.pack("<H", 9) + b"eight of9.",
    ],
)
def test_the_signature_alone_is_no_archive(tail: bytes) -> None:
    assert findings(ArchiveTail(), LONG, tail) == {}


@pytest.mark.parametrize("name", ["md5", "sha256", "sha512"])
def test_a_declared_digest_is_verified(name: str) -> None:
    right = hashlib.new(name, LONG).digest()
    assert findings(Digest({name: right}), LONG) == {"sha256": hashlib.sha256(LONG).hexdigest()}
    assert findings(Digest({name: right[:-1] + b"?"}), LONG) is DigestMismatch
    assert findings(Digest({name: right[:-1]}), LONG) is DigestMismatch


def test_every_declared_digest_counts() -> None:
    declared = {"sha256": hashlib.sha256(LONG).digest(), "sha512": bytes(64)}
    assert findings(Digest(declared), LONG) is DigestMismatch


def test_the_first_objection_ends_it() -> None:
    with pytest.raises(TooLarge):
        Chain([SizeLimit(1), Sniff(CORE)]).feed(b"x" * HEAD)
