"""Forms that break the rules of RFC 2046 and RFC 7578, and some that only look as if they did."""

from __future__ import annotations

import pytest

from tests.wire import END, FORM, NEXT, WAV, Edge, chunked, file, form, part, request, sized, text

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHOLE = file() + END
CONTENT = WHOLE.index(WAV)
MALFORMED, TRUNCATED, TOO_LARGE = (400, "malformed"), (400, "truncated"), (413, "too-large")
NOT_AUDIO, EMPTY = (415, "not-audio"), (422, "empty")

DISPOSITION = 'Content-Disposition: form-data; name="file"; filename="a.wav"'
NESTED = "Content-Type: multipart/mixed; boundary=inner"

CUTS = {
    "in the first boundary": 3,
    "behind the first boundary": len(NEXT) - 2,
    "behind its line end": len(NEXT),
    "in the name of a header field": len(NEXT) + 7,
    "in its value": len(NEXT) + 40,
    "behind the header": CONTENT,
    "behind the first byte": CONTENT + 1,
    "in the content": CONTENT + len(WAV) // 2,
    "behind the content": CONTENT + len(WAV),
    "in the line end behind the content": CONTENT + len(WAV) + 1,
    "before the final boundary": CONTENT + len(WAV) + 2,
    "in the final boundary": len(WHOLE) - 6,
    "between the boundary and its two dashes": len(WHOLE) - 4,
    "between the two dashes": len(WHOLE) - 3,
}


@pytest.mark.parametrize("coding", ["sized", "chunked", "late last chunk"])
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_a_form_cut_off_is_not_a_form(edge: Edge, cut: int, coding: str) -> None:
    body = WHOLE[:cut]
    pieces = {
        "sized": (sized(body, FORM),),
        "chunked": (request(FORM, "Transfer-Encoding: chunked", body=chunked([body])),),
        "late last chunk": (request(FORM, "Transfer-Encoding: chunked", body=chunked([body])[:-5]), b"0\r\n\r\n"),
    }
    status, problem = await edge.refuse(*pieces[coding], pause=0.01)
    assert (status, problem in {"truncated", "malformed"}) == (400, True)


@pytest.mark.parametrize("cut", [CONTENT + 1, CONTENT + len(WAV), len(WHOLE) - 6])
async def test_a_lost_end_is_called_so(edge: Edge, cut: int) -> None:
    assert await edge.refuse(sized(WHOLE[:cut], FORM)) == TRUNCATED


async def test_a_late_last_chunk_ends_a_whole_form(edge: Edge) -> None:
    body = chunked([WHOLE])
    await edge.take(request(FORM, "Transfer-Encoding: chunked", body=body[:-5]), body[-5:], pause=0.05)


@pytest.mark.parametrize(
    "end", [b"--edge--", b"--edge-- \t\r\n", b"--edge--\r\n\r\nBye.\r\n", b"--edge--\r\n" + b"x" * 1000]
)
async def test_ends_that_the_rules_allow(edge: Edge, end: bytes) -> None:
    (upload,) = await edge.take(form(file(), end=end))
    assert upload["size"] == len(WAV)


async def test_a_preamble_is_skipped(edge: Edge) -> None:
    await edge.take(form(b"For readers without MIME.\r\n", file()))


@pytest.mark.parametrize("boundary", ["x" * 70, "0'()+_,-./:=?z", '"with space"', '"q"'])
async def test_boundaries_that_the_rules_allow(edge: Edge, boundary: str) -> None:
    body = (file() + END).replace(b"--edge", b"--" + boundary.strip('"').encode())
    header = boundary if boundary[0] == '"' or boundary.isalnum() else f'"{boundary}"'
    await edge.take(sized(body, f"Content-Type: multipart/form-data; boundary={header}"))


@pytest.mark.parametrize(
    "parameter",
    [
        "",
        "; boundary=",
        '; boundary=""',
        f"; boundary={'x' * 71}",
        '; boundary="a@b"',
        '; boundary="trailing "',
        "; boundary=a\xe9b",
    ],
)
async def test_boundaries_that_the_rules_forbid(edge: Edge, parameter: str) -> None:
    named = parameter.partition("=")[2].strip('"').encode("latin-1")
    body = (file() + END).replace(b"--edge", b"--" + named)
    assert await edge.refuse(sized(body, f"Content-Type: multipart/form-data{parameter}")) == MALFORMED


BROKEN = {
    "line feeds only": (WHOLE[:CONTENT].replace(b"\r\n", b"\n") + WAV + b"\n--edge--\n", TRUNCATED),
    "no line end before the boundary": (NEXT + DISPOSITION.encode() + b"\r\n\r\n" + WAV + END, TRUNCATED),
    "another boundary": (WHOLE.replace(b"--edge", b"--ledge"), MALFORMED),
    "no boundary at all": (WAV, MALFORMED),
    "something behind a boundary": (file() + b"--edgeway\r\n" + END, MALFORMED),
    "final boundary first": (END + WHOLE, MALFORMED),
    "nothing but the final boundary": (END, EMPTY),
    "text only": (text("language", b"de") + END, EMPTY),
    "an empty file": (file(b"") + END, EMPTY),
    "no line end before an empty content's boundary": (NEXT + DISPOSITION.encode() + b"\r\n\r\n" + END, EMPTY),
    "no name": (part(WAV, "Content-Disposition: form-data") + END, MALFORMED),
    "no disposition": (part(WAV, "Content-Type: audio/wav") + END, MALFORMED),
    "an attachment": (part(WAV, 'Content-Disposition: attachment; name="a"; filename="a.wav"') + END, MALFORMED),
    "two dispositions": (part(WAV, DISPOSITION, DISPOSITION) + END, MALFORMED),
    "two names": (part(WAV, 'Content-Disposition: form-data; name="a"; name="b"') + END, MALFORMED),
    "two file names": (part(WAV, DISPOSITION + '; filename="b.wav"') + END, MALFORMED),
    "an open quote": (part(WAV, 'Content-Disposition: form-data; name="a; filename="b') + END, MALFORMED),
    "NUL in a field value": (part(WAV, DISPOSITION, "X: a\0b") + END, MALFORMED),
    "NUL in a file name": (part(WAV, DISPOSITION.replace("a.wav", "a\0.wav")) + END, MALFORMED),
    "carriage return in a field value": (part(WAV, DISPOSITION, "X: a\rb") + END, MALFORMED),
    "a folded field": (part(WAV, 'Content-Disposition: form-data;\r\n name="a"; filename="a.wav"') + END, MALFORMED),
    "a field without a colon": (part(WAV, DISPOSITION, "nonsense") + END, MALFORMED),
    "a field without a name": (part(WAV, DISPOSITION, ": nonsense") + END, MALFORMED),
    "a field above 8 KiB": (part(WAV, DISPOSITION, "X: " + "x" * 8190) + END, MALFORMED),
    "a header above 8 KiB": (part(WAV, DISPOSITION, *["X: " + "x" * 100] * 90) + END, MALFORMED),
    "more than 128 fields": (part(WAV, DISPOSITION, *["X: x"] * 128) + END, MALFORMED),
    "6 MB without a header's end": (NEXT + b"X: x\r\n" * 1_000_000 + END, MALFORMED),
    "6 MB in a field": (NEXT + b"X: " + b"x" * 6_000_000 + b"\r\n" + END, MALFORMED),
    "base64": (file(WAV, "Content-Transfer-Encoding: base64") + END, NOT_AUDIO),
    "quoted-printable": (file(WAV, "Content-Transfer-Encoding: quoted-printable") + END, NOT_AUDIO),
    "base64 behind binary": (
        file(WAV, "Content-Transfer-Encoding: binary", "Content-Transfer-Encoding: base64") + END,
        NOT_AUDIO,
    ),
    "gzip": (file(WAV, "Content-Encoding: gzip") + END, NOT_AUDIO),
    "gzip behind identity": (file(WAV, "Content-Encoding: identity", "Content-Encoding: gzip") + END, NOT_AUDIO),
    "a form inside": (part(b"--inner--", DISPOSITION, NESTED) + END, MALFORMED),
    "a form inside, without boundary": (
        part(b"--inner--", DISPOSITION, "Content-Type: multipart/mixed") + END,
        MALFORMED,
    ),
    "forms inside forms": (part(b"", DISPOSITION, NESTED) * 2000 + END, MALFORMED),
    "6 MB of preamble lines": (b"x\n" * 3_000_000 + WHOLE, MALFORMED),
    "6 MB of preamble": (b"x" * 6_000_000 + b"\r\n" + WHOLE, MALFORMED),
    "6 MB of epilogue lines": (WHOLE + b"x\n" * 3_000_000, MALFORMED),
    "6 MB of epilogue": (WHOLE + b"x" * 6_000_000, MALFORMED),
    "ten thousand text fields": (file() + text("a", b"b") * 10_000 + END, TOO_LARGE),
    "ten thousand files": (file() * 9 + file(b"") * 10_000 + END, TOO_LARGE),
    "ten thousand nothings": (NEXT * 10_000 + END, MALFORMED),
    "a bad digest": (file(WAV, "Repr-Digest: sha-256=:AAAA:") + END, (400, "digest-mismatch")),
    "no digest in a digest field": (file(WAV, "Content-Digest: sha-256=AAAA") + END, MALFORMED),
}


@pytest.mark.parametrize(("body", "expected"), BROKEN.values(), ids=BROKEN)
async def test_broken_forms_leave_no_trace(edge: Edge, body: bytes, expected: tuple[int, str]) -> None:
    assert await edge.refuse(sized(body, FORM)) == expected


@pytest.mark.parametrize("kind", ["mixed", "related", "form-data2", "digest"])
async def test_other_multiparts_are_no_forms(edge: Edge, kind: str) -> None:
    header = f"Content-Type: multipart/{kind}; boundary=edge"
    assert await edge.refuse(sized(file(WAV, "Content-Length: 5") + END, header)) == NOT_AUDIO


@pytest.mark.parametrize("length", ["1", "999999999", "-1", "1e3", "ten"])
async def test_what_a_part_says_of_its_length_is_ignored(edge: Edge, length: str) -> None:
    (upload,) = await edge.take(form(file(WAV, f"Content-Length: {length}")))
    assert upload["size"] == len(WAV)


async def test_a_form_may_begin_with_its_charset(edge: Edge) -> None:
    (upload,) = await edge.take(form(text("_charset_", b"utf-8"), file()))
    assert upload["metadata"] == {"_charset_": "utf-8"}


async def test_content_may_look_like_a_boundary(edge: Edge) -> None:
    tail = b"\r\n--edg\r\n-edge--\r\n\r\n--\r\n--edg"
    (upload,) = await edge.take(form(file(WAV + tail)))
    assert upload["size"] == len(WAV + tail)


FIELDS = {
    "too many": ([text(f"n{number}", b"x") for number in range(33)], TOO_LARGE),
    "too large": ([text("a", b"x" * 16_385)], TOO_LARGE),
    "too large together": ([text("a", b"x" * 8192), text("b", b"x" * 8193)], TOO_LARGE),
    "too long a name": ([text("n" * 256, b"x")], TOO_LARGE),
    "not UTF-8": ([text("a", b"\xff\xfe")], MALFORMED),
    "a surrogate": ([text("a", b"\xed\xa0\x80")], MALFORMED),
    "a name that is not UTF-8": ([text("\xff", b"x")], MALFORMED),
    "NUL": ([text("a", b"a\0b")], MALFORMED),
    "base64": (
        [part(b"eA==", 'Content-Disposition: form-data; name="a"', "Content-Transfer-Encoding: base64")],
        NOT_AUDIO,
    ),
}


@pytest.mark.parametrize("where", ["before the file", "behind the file"])
@pytest.mark.parametrize(("fields", "expected"), FIELDS.values(), ids=FIELDS)
async def test_text_fields_out_of_bounds(
    edge: Edge, fields: list[bytes], expected: tuple[int, str], where: str
) -> None:
    parts = (*fields, file()) if where == "before the file" else (file(), *fields)
    assert await edge.refuse(form(*parts)) == expected


async def test_text_fields_at_their_bounds(edge: Edge) -> None:
    fields = [text("n" * 255, b"x" * (16_384 - 31)), *(text(f"n{number}", b"x") for number in range(31))]
    (upload,) = await edge.take(form(*fields[:16], file(), *fields[16:]))
    assert len(upload["metadata"]) == 32


async def test_repeated_names_become_lists_wherever_they_stand(edge: Edge) -> None:
    parts = (text("tag", b"a"), text("who", "Zoë".encode()), file(), text("tag", b""), text("tag", b"c"))
    (upload,) = await edge.take(form(*parts))
    assert upload["metadata"] == {"tag": ["a", "", "c"], "who": "Zoë"}


async def test_all_files_of_a_form_are_stored_together(edge: Edge) -> None:
    uploads = await edge.take(form(*(file(name=f"{number}.wav") for number in range(8))))
    assert sorted(upload["filename"] for upload in uploads) == [f"{number}.wav" for number in range(8)]


NOT_CHOSEN = part(b"", 'Content-Disposition: form-data; name="second"; filename=""')


@pytest.mark.parametrize("parts", [(NOT_CHOSEN, file()), (file(), NOT_CHOSEN, NOT_CHOSEN)])
async def test_a_file_input_without_a_file_is_left_out(edge: Edge, parts: tuple[bytes, ...]) -> None:
    (upload,) = await edge.take(form(*parts))
    assert upload["filename"] == "speech.wav"


async def test_a_form_whose_only_file_input_is_empty_has_no_file(edge: Edge) -> None:
    assert await edge.refuse(form(NOT_CHOSEN, text("who", b"me"))) == EMPTY


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (file(b"MZ" + bytes(3000)), NOT_AUDIO),
        (file(WAV, name="speech.exe"), NOT_AUDIO),
        (file(WAV, "Content-Type: text/html"), NOT_AUDIO),
        (file(b""), EMPTY),
        (file(WAV, f"Repr-Digest: sha-256=:{'A' * 43}=:"), (400, "digest-mismatch")),
    ],
    ids=["content", "name", "type", "empty", "digest"],
)
async def test_one_refused_file_refuses_the_form(edge: Edge, at: int, bad: bytes, expected: tuple[int, str]) -> None:
    parts = [file(), file()]
    parts.insert(at, bad)
    assert await edge.refuse(form(*parts)) == expected


TRICKS = {
    "path": ("filename=\"a.wav\"; filename*=UTF-8''..%2F..%2Fetc%2Fb.wav", "b.wav"),
    "windows path": ('filename="C:\\\\evil\\\\a.wav"', "a.wav"),
    "dots only": ('filename=".."', None),
    "empty": ('filename=""', None),
    "NUL": ("filename*=UTF-8''a%00b.wav", "ab.wav"),
    "line end": ("filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x.wav", "aSet-Cookie: x.wav"),
    "escape": ("filename*=UTF-8''%1B%5B31ma.wav", "[31ma.wav"),
    "right to left": ("filename*=UTF-8''a%E2%80%AEvaw.exe.wav", "avaw.exe.wav"),
    "line separator": ("filename*=UTF-8''a%E2%80%A8b.wav", "ab.wav"),
    "surrogate by codec": ("filename=\"a.wav\"; filename*=unicode_escape''%5Cud800a.wav", "a.wav"),
    "codec that only raises": ("filename=\"a.wav\"; FileName* = undefined''%41.wav", "a.wav"),
    "codec with its own errors": ("filename*=idna''xn--%41.wav; filename=\"a.wav\"", "a.wav"),
    "unknown codec beside a name": ("filename=\"a.wav\"; filename*=klingon''%41.wav", "a.wav"),
    "bad UTF-8": ("filename=\"a.wav\"; filename*=UTF-8''%ff.wav", "a.wav"),
    "raw bytes": ('filename="a\xff\xfe.wav"', "a??.wav"),
    "latin-1": ("filename*=ISO-8859-1''%e9.wav", "é.wav"),
    "decomposed": ("filename*=UTF-8''e%CC%81.wav", "é.wav"),
    "continuation": ('filename="a.wav"; filename*0=a\'b', "a.wav"),
    "semicolon": ('filename="a;b.wav"', "a;b.wav"),
    "parameters inside": ('filename="x; y*=z\\".wav"', 'x; y*=z".wav'),
    "quote": ('filename="a\\"b.wav"', 'a"b.wav'),
    "long": (f'filename="{"é" * 300}.wav"'.encode().decode("latin-1"), "é" * 125 + ".wav"),
}


@pytest.mark.parametrize(("trick", "shown"), TRICKS.values(), ids=TRICKS)
async def test_a_file_name_is_for_showing_only(edge: Edge, trick: str, shown: str | None) -> None:
    (upload,) = await edge.take(form(part(WAV, f'Content-Disposition: form-data; name="file"; {trick}')))
    assert upload["filename"] == shown
    (upload,) = await edge.take(sized(WAV, f"Content-Disposition: attachment; {trick}"))
    assert upload["filename"] == shown


@pytest.mark.parametrize(
    "trick",
    [
        "filename*0=a'b",
        "filename*0=undefined''%41",
        "filename*0*=undefined''%41",
        "filename*=undefined''%41",
        "filename*=unicode_escape''%5Cud800",
    ],
)
async def test_a_file_name_beyond_the_standards_is_none(edge: Edge, trick: str) -> None:
    assert await edge.refuse(form(part(WAV, f'Content-Disposition: form-data; name="file"; {trick}'))) == MALFORMED
    (upload,) = await edge.take(sized(WAV, f"Content-Disposition: attachment; {trick}"))
    assert upload["filename"] is None
