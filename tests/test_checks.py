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

from maie_aiohttp.errors import DigestMismatch, Empty, NotAudio, Rejected, TooLarge
from maie_aiohttp.formats import BY_NAME, CORE
from maie_aiohttp.inspection.checks import Check, Digest, Examination, Findings, Polyglot, SizeLimit, Sniff
from maie_aiohttp.interfaces import HEAD
from tests import audio

LONG = b"".join(audio.long_wav(2 * HEAD))

cuts = st.lists(st.integers(0, len(LONG)), max_size=12)


class Memory:
    """An upload that is complete, in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    def read(self, start: int, size: int) -> bytes:
        assert start >= 0
        return self._content[start : start + size]


def split(content: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(min(place, len(content)) for place in places), len(content)]
    return (content[start:stop] for start, stop in pairwise(edges))


def objection(check: Check, *chunks: bytes) -> type[Rejected] | None:
    """How the check refuses these bytes, if it does."""
    try:
        for chunk in chunks:
            check.feed(bytearray(chunk))
        check.finish(Memory(b"".join(chunks)))
    except Rejected as error:
        return type(error)
    return None


def findings(content: bytes, *, digests: Mapping[str, bytes], places: list[int]) -> Findings | type[Rejected]:
    """What is known of the content in the end, or how it is refused."""
    examination = Examination(CORE, digests)
    return objection(examination, *split(content, places)) or examination.findings()


def archive(comment: bytes = b"", files: int = 1) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number in range(files):
            made.writestr(f"payload {number}", b"anything")
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
    digests = {"sha512": hashlib.sha512(content).digest()}
    assert findings(content, digests=digests, places=places) == findings(content, digests=digests, places=[])


@pytest.mark.parametrize(("name", "demuxer"), [("long", None), ("mp3", "mp3")])
def test_findings_of_a_recording(name: str, demuxer: str | None) -> None:
    """What the head cannot prove is to be decoded."""
    content = CONTENTS[name]
    found = findings(content, digests={}, places=[])
    expected = BY_NAME["wav" if name == "long" else name]
    assert found == Findings(expected, demuxer, hashlib.sha256(content).hexdigest())


def test_the_verdict_falls_at_the_last_byte_of_the_head() -> None:
    sniff = Sniff(CORE)
    sniff.feed(b"x" * (HEAD - 1))
    with pytest.raises(NotAudio):
        sniff.feed(b"x")


def test_a_format_that_is_not_enabled_is_refused() -> None:
    assert objection(Sniff(CORE - {"wav"}), LONG) is NotAudio


def test_nothing_is_no_recording() -> None:
    assert objection(Sniff(CORE)) is Empty
    assert objection(Sniff(CORE), b"") is Empty


@given(st.lists(st.binary(max_size=40)))
def test_the_limit_is_exact(chunks: list[bytes]) -> None:
    total = sum(map(len, chunks))
    assert objection(SizeLimit(total), *chunks) is None
    if total:
        assert objection(SizeLimit(total - 1), *chunks) is TooLarge


def test_one_limit_for_several_files() -> None:
    limit = SizeLimit(10)
    assert objection(limit, b"123456") is None
    assert objection(limit, b"12345") is TooLarge


def zip64() -> bytes:
    """An archive whose end record leaves its numbers to the ZIP64 one."""
    plain = archive()
    size, offset = struct.unpack_from("<II", plain, len(plain) - 10)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(plain) - 22, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return plain[:-22] + end64 + locator + end


def test_the_zip64_archive_is_one() -> None:
    assert zipfile.ZipFile(io.BytesIO(LONG + zip64())).namelist() == ["payload 0"]


def newest(content: bytes) -> bytes:
    """An archive that asks for a version of the format from the future."""
    at = content.rindex(b"PK\1\2") + 6
    return content[:at] + b"\x63" + content[at + 1 :]


def placed(recording: bytes, behind: bytes) -> bytes:
    """An archive that names its directory's place in the whole file, and no true size."""
    size, offset = struct.unpack_from("<II", behind, len(behind) - 10)
    return recording + behind[:-10] + struct.pack("<IIH", size + 99, offset + len(recording), 0)


ARCHIVES = {
    "plain": LONG + archive(),
    "with a comment": LONG + archive(b"a comment"),
    "with a long comment": LONG + archive(b"c" * 5000),
    "with the longest comment": LONG + archive(b"c" * 65_535),
    "with a second end record in its comment": LONG + archive(b"PK\5\6" + bytes(30)),
    "with more behind it": LONG + archive() + b"a few bytes more",
    "with a comment cut off": (LONG + archive(b"c" * 5000))[:-1000],
    "with a directory larger than what is searched": LONG + archive(files=2000),
    "zip64": LONG + zip64(),
    "zip64 with the longest comment": LONG + zip64()[:-2] + b"\xff\xff" + b"c" * 65_535,
    "zip64 whose end record is cut off": LONG + zip64()[:-18],
    "of the future": LONG + newest(archive()),
    "known by its place alone": placed(LONG, archive()),
    "alone": archive(),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_behind_a_recording_is_refused(name: str) -> None:
    assert objection(Polyglot(), ARCHIVES[name]) is NotAudio


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"PK",
        b"PK\5\6",
        b"PK\5\6" + bytes(17),
        b"PK\5\6" + bytes(18),
        b"PK\5\6" + bytes(18) + b"samples go on",
        b"PK\5\6" + b"\xff" * 18,
        b"PK\5\6" + bytes(20) + b"PK\6\7" + bytes(16),
        b"PK\1\2" + bytes(42) + b"PK\5\6" + bytes(8) + struct.pack("<IIH", 45, 7, 0),
        archive()[:-22] + archive()[-22:].replace(b"PK", b"pk"),
        archive(files=0),
    ],
)
def test_the_signature_alone_is_no_archive(tail: bytes) -> None:
    assert objection(Polyglot(), LONG, tail) is None
    assert objection(Polyglot(), tail) is None


@given(
    st.binary(max_size=200).filter(lambda samples: Polyglot.DIRECTORY not in samples),
    st.lists(st.sampled_from([b"PK\5\6", b"\0" * 18, b"wave"]), max_size=60),
)
def test_no_signature_among_samples_is_an_archive(samples: bytes, pieces: list[bytes]) -> None:
    assert objection(Polyglot(), samples, *pieces) is None


def test_what_the_head_of_an_archive_says_does_not_matter_further_back() -> None:
    assert objection(Polyglot(), LONG, archive(), bytes(Polyglot.SEARCHED)) is None


@pytest.mark.parametrize("name", ["md5", "sha256", "sha512"])
def test_a_declared_digest_is_verified(name: str) -> None:
    right = hashlib.new(name, LONG).digest()
    assert objection(Digest({name: right}), LONG) is None
    assert objection(Digest({name: right[:-1] + b"?"}), LONG) is DigestMismatch
    assert objection(Digest({name: right[:-1]}), LONG) is DigestMismatch


def test_every_declared_digest_counts() -> None:
    declared = {"sha256": hashlib.sha256(LONG).digest(), "sha512": bytes(64)}
    assert objection(Digest(declared), LONG) is DigestMismatch


def test_the_first_objection_ends_it() -> None:
    examination = Examination(CORE, {"sha256": bytes(32)})
    with pytest.raises(NotAudio):
        examination.feed(b"x" * HEAD)
    assert objection(Examination(CORE, {"sha256": bytes(32)}), LONG, archive()) is DigestMismatch
