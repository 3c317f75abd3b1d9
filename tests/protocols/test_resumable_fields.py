"""The fields of resumable uploads: what counts is of the right type and value, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from maie_aiohttp.errors import InconsistentLength
from maie_aiohttp.protocols.resumable_fields import Fields, completeness, parse

LARGEST = 999_999_999_999_999
"""Of RFC 9651, section 3.3.1."""

SIZES = st.integers(0, LARGEST)
HALVES = st.integers(0, LARGEST // 2)
ANY_VALUE = st.text(max_size=30) | st.text(st.sampled_from('?01-.;=,():"@%aé \t\udcff'), max_size=12)
NEWEST = 9


def headers(*fields: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(fields))


@given(version=st.integers(4, NEWEST), offset=SIZES, length=SIZES, complete=st.booleans())
def test_well_formed_fields_say_what_they_say(version: int, offset: int, length: int, complete: bool) -> None:
    sent = headers(
        ("upload-draft-interop-version", str(version)),
        ("upload-offset", str(offset)),
        ("upload-length", f"{length};unit=bytes"),
        ("upload-complete", "?1" if complete else "?0"),
    )
    assert parse(sent) == Fields(version, offset, length, complete)


@given(ANY_VALUE, ANY_VALUE, ANY_VALUE, ANY_VALUE)
def test_anything_else_counts_as_not_sent(version: str, offset: str, length: str, complete: str) -> None:
    said = parse(
        headers(
            ("Upload-Draft-Interop-Version", version),
            ("Upload-Offset", offset),
            ("Upload-Length", length),
            ("Upload-Complete", complete),
        )
    )
    assert said.version is None or 3 <= said.version <= NEWEST
    assert said.offset is None or 0 <= said.offset <= LARGEST
    assert said.length is None or 0 <= said.length <= LARGEST
    assert said.complete is None or said.version == 3 or complete.strip().startswith(f"?{said.complete:d}")


@pytest.mark.parametrize(
    "value", ["", "-1", "1.0", '"1"', ":MQ==:", "?1", "@1", "1, 2", "(1)", "1_0", "\uff11", "9" * 16]
)
def test_no_size(value: str) -> None:
    assert parse(headers(("Upload-Offset", value), ("Upload-Length", value))) == Fields()


@pytest.mark.parametrize("value", ["", "1", "true", "?2", "?", "?1, ?1", '"?1"', "(?1)"])
def test_no_boolean(value: str) -> None:
    assert parse(headers(("Upload-Complete", value))) == Fields()


@pytest.mark.parametrize("name", ["Upload-Offset", "Upload-Length", "Upload-Complete"])
def test_a_field_sent_twice_says_nothing(name: str) -> None:
    value = "?1" if name == "Upload-Complete" else "1"
    assert parse(headers((name, value), (name, value))) == Fields()


@pytest.mark.parametrize("version", ["2", "10", "-6", "?1", "six"])
def test_an_unknown_version_is_none(version: str) -> None:
    assert parse(headers(("Upload-Draft-Interop-Version", version))).version is None


@given(st.booleans())
def test_the_oldest_draft_says_the_opposite(complete: bool) -> None:
    name, value = next(iter(completeness(complete, 3).items()))
    assert name == "Upload-Incomplete"
    assert parse(headers((name, value), ("Upload-Draft-Interop-Version", "3"))).complete is complete
    assert parse(headers((name, value))).complete is None


@given(st.booleans(), st.integers(4, NEWEST))
def test_completeness_can_be_read_back(complete: bool, dialect: int) -> None:
    assert parse(headers(*completeness(complete, dialect).items())).complete is complete


@pytest.mark.parametrize(
    ("fields", "last"),
    [
        (Fields(3), True),
        (Fields(6), None),
        (Fields(), None),
        (Fields(3, complete=False), False),
        (Fields(complete=True), True),
    ],
)
def test_whether_an_append_is_the_last(fields: Fields, last: bool | None) -> None:
    assert fields.last is last


@given(start=HALVES, size=HALVES, length=SIZES)
@example(start=2, size=3, length=5)
def test_two_statements_of_the_length_agree(start: int, size: int, length: int) -> None:
    assert Fields(complete=True).total(start, size) == start + size
    assert Fields(complete=False, length=length).total(start, size) == length
    assert Fields(complete=True, length=length).total(start, None) == length
    assert Fields(complete=True, length=start + size).total(start, size) == start + size
    if length != start + size:
        with pytest.raises(InconsistentLength):
            Fields(complete=True, length=length).total(start, size)
