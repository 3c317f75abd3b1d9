"""What a stored recording is, told by child processes that decode it. `prober` is their program."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from maie_aiohttp.errors import Damaged
from maie_aiohttp.inspection.children import DiedError, Pool
from maie_aiohttp.model import Facts, Finding, Outline

PROGRAM = Path(__file__).with_name("prober.py")

ANSWER_LIMIT = 512 * 1024  # bytes; 64 tags of 1,024 characters, each escaped as six bytes, take 400,000

UNEXAMINED = Facts(findings=(Finding.UNEXAMINED,))
"""Of a file that the children died of, or that took too long."""

File = tuple[Path, str]
"""A recording, and the name of its format."""

Told = TypeVar("Told")

log = structlog.get_logger()


class Analyst(Pool):
    """Children that decode whole files, when nothing else is to be done. `patience` (seconds) is what one may decode
    of one file for its facts."""

    def __init__(self, *, workers: int, timeout: float, memory: int, patience: float = 0) -> None:
        super().__init__(PROGRAM, workers=workers, timeout=timeout, memory=memory, longest=ANSWER_LIMIT)
        self._patience = patience

    async def facts(self, files: Sequence[File]) -> Sequence[Facts]:
        """Of each recording. If a child dies of several, or takes too long, each is looked at by itself, so that only
        the one that it was pays for it. Raises Busy without a child, and Draining."""
        if len(files) > 1:
            together = _for_each(files, await self._told(_facts, "facts", _question(files), self._patience))
            if together is not None:
                return together
        return [await self._facts_of(file) for file in files]

    async def _facts_of(self, file: File) -> Facts:
        """If that takes too long, it is looked at once more, and not listened to."""
        question = _question([file])
        try:
            told = await self._tried(_facts, "facts", question, self._patience)
        except TimeoutError:
            told = await self._told(_facts, "facts", question, 0)
        (facts,) = _for_each([file], told) or [UNEXAMINED]
        return facts

    async def tags(self, path: Path, format: str) -> Mapping[str, str]:
        """What the file says of itself; nothing, where that cannot be found out. Raises Damaged where it is not given
        out, Busy without a child, and Draining."""
        return _given_out(await self._told(_tags, "tags", str(path), format)) or {}

    async def outline(self, path: Path, format: str) -> Outline | None:
        """The recording's outline; None where it cannot be decoded, or not in time. Raises as `tags` does."""
        return _given_out(await self._told(_outline, "outline", str(path), format)) or None

    async def _told(self, understand: Callable[[str], Told], wish: str, *details: object) -> Told | None:
        """None if two children died of the question, or one took too long."""
        with suppress(TimeoutError):
            return await self._tried(understand, wish, *details)
        return None

    async def _tried(self, understand: Callable[[str], Told], wish: str, *details: object) -> Told | None:
        """None if two children died of the question. Raises TimeoutError."""
        for _ in range(2):  # the first child may have died of something else
            try:
                return await self.ask(understand, wish, *details)
            except TimeoutError:
                log.warning("file not examined in time", wish=wish)
                raise
            except DiedError:
                log.warning("prober died", wish=wish)
        return None


def _question(files: Sequence[File]) -> Sequence[tuple[str, str]]:
    return [(str(path), format) for path, format in files]


def _for_each(files: Sequence[File], told: Sequence[Facts | None] | None) -> Sequence[Facts] | None:
    """None where nothing was told, or of other files."""
    if told is None or len(told) != len(files):
        return None
    return [facts or UNEXAMINED for facts in told]


def _given_out(told: Told | Literal[False]) -> Told:
    if told is False:
        raise Damaged("The recording could not be read.")
    return told


# Whoever broke into a child may answer anything.

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Number = Annotated[int, Field(gt=0, lt=1 << 53)]


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Facts(_Answer):
    codec: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,32}$")] | None = None
    duration: Seconds | None = None
    sample_rate: Number | None = None
    channels: Number | None = None
    bit_rate: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    findings: tuple[Finding, ...]


class _Outline(_Answer):
    sample_rate: Number
    stretch: Number
    pairs: str


_FACTS: TypeAdapter[list[_Facts | Literal[False]]] = TypeAdapter(list[_Facts | Literal[False]])
_TAGS: TypeAdapter[dict[str, str] | Literal[False]] = TypeAdapter(dict[str, str] | Literal[False])
_OUTLINE: TypeAdapter[_Outline | Literal[False] | None] = TypeAdapter(_Outline | Literal[False] | None)

# These raise ValueError.


def _facts(answer: str) -> Sequence[Facts | None]:
    return [Facts(**dict(told)) if told else None for told in _FACTS.validate_json(answer, strict=True)]


def _tags(answer: str) -> Mapping[str, str] | Literal[False]:
    return _TAGS.validate_json(answer, strict=True)


def _outline(answer: str) -> Outline | Literal[False] | None:
    told = _OUTLINE.validate_json(answer, strict=True)
    if told is None or told is False:
        return told
    pairs = base64.b64decode(told.pairs, validate=True)
    if not pairs or len(pairs) % 4:
        raise binascii.Error("no pairs of 16 bits")
    return Outline(told.sample_rate, told.stretch, pairs)
