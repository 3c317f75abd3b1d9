"""A last look at a finished upload: is there audio in it that decodes, and for how long? `decoder` looks."""

from __future__ import annotations

import math
from pathlib import Path

import structlog

from maie_aiohttp.errors import Busy, NotAudio, TooLong
from maie_aiohttp.inspection.children import DiedError, Pool

PROGRAM = Path(__file__).with_name("decoder.py")

ANSWER_LIMIT = 64  # bytes; the longest word has 11, and a number stands before it

REFUSALS = {
    "video": "The file holds video.",
    "undecodable": "No audio in the file could be decoded.",
}
WORDS = {"audio", "unreadable", "long", *REFUSALS}

log = structlog.get_logger()


class Inspector(Pool):
    """Children that decode the first audio frame of a file."""

    def __init__(self, *, workers: int, timeout: float, memory: int) -> None:
        super().__init__(PROGRAM, workers=workers, timeout=timeout, memory=memory, longest=ANSWER_LIMIT)

    async def inspect(self, path: Path, demuxer: str, most: float = math.inf) -> None:
        """Return if FFmpeg's `demuxer` finds audio that decodes in the file at `path`, no video but covers, and
        nothing that plays for more than `most` seconds.

        Raises NotAudio if not, or if two children died of the file; TooLong; Busy if there is no verdict within the
        time limit, no child, or no access to the file; Draining when the inspector stops.
        """
        question = (str(path), demuxer) if most == math.inf else (str(path), demuxer, most)
        for _ in range(2):  # the first child may have died of something else
            try:
                return _deliver(await self.ask(_word, *question))
            except TimeoutError:
                raise Busy("The file took too long to decode.") from None
            except DiedError:
                log.warning("decoder died", demuxer=demuxer)
        raise NotAudio("The file makes the decoder fail.")


def _word(answer: str) -> str:
    if answer not in WORDS:
        raise ValueError(answer)
    return answer


def _deliver(word: str) -> None:
    if word == "unreadable":
        raise Busy("The file could not be read.")
    if word == "long":
        raise TooLong
    if word in REFUSALS:
        raise NotAudio(REFUSALS[word])
