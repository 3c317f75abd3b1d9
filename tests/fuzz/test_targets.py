"""The fuzz targets, for as long as a test may take, on what is close to what clients write."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

PUNCTUATION = [bytes([byte]) for byte in b"\0\t\r\n \"%&'()*+,-./:;<=>?@[\\]_`{|}~\x7f\x80\xff"]
WORDS = (
    b"bytes= filename* utf-8'' sha-256=: ?1 final; proto=https host=\" --b-b \r\n--b-b-- %e2 name= 1 9999999999".split(
        b" "
    )
)


@pytest.mark.parametrize(("target", "seed"), [(target, seed) for target, seeds in TARGETS.values() for seed in seeds])
def test_a_seed_holds(target: Target, seed: bytes) -> None:
    target(seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(deadline=None)
def test_whatever_comes(name: str, data: st.DataObject) -> None:
    """Seeds with pieces of themselves, of each other and of the grammar in and out of their places."""
    target, seeds = TARGETS[name]
    pieces = [
        *seeds,
        *PUNCTUATION,
        *WORDS,
        *(seed[:-at] for seed in seeds for at in (1, 3)),
        *(seed[2:] for seed in seeds),
    ]
    target(data.draw(st.binary(max_size=200) | st.lists(st.sampled_from(pieces) | st.binary(max_size=4)).map(b"".join)))
