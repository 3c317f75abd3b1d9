"""What a probe found in the head of a file."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias


class Evidence(Enum):
    """What the head of a file proves about one family of formats."""

    NONE = "not this family, or broken"
    VIDEO = "this family, with video in it"
    PROVISIONAL = "this family, but the head ends before what decides"
    AUDIO = "this family, with audio and no video"
    LINEAR_PCM = "this family, plain linear PCM, and samples stand in the head"


Probe: TypeAlias = Callable[[bytes, bool], Evidence]
"""`probe(head, complete)`: the first bytes of a file, and whether they are the whole file. Never raises."""


def undecided(complete: bool) -> Evidence:
    """The evidence when the deciding part lies past the head: a whole file will not bring it any more."""
    return Evidence.NONE if complete else Evidence.PROVISIONAL
