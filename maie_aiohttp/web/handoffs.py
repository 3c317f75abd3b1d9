"""Hand-offs as clients see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maie_aiohttp.model import Handed, Letter, Upload
from maie_aiohttp.web.records import moment, path


def standing(upload: Upload, letters: Iterable[Letter], targets: Sequence[str]) -> list[dict[str, object]]:
    """How far each target knows of an upload: those that are told of it now, and those that were told before."""
    known = {letter.target: _outcome(letter) for letter in letters}
    if upload.stored is not None:
        known = {**{target: _untold(target) for target in targets}, **known}
    return [known[target] for target in sorted(known)]


def as_json(letter: Letter, root: str) -> dict[str, object]:
    """A letter by itself; `root` is what stands before the path in its link."""
    return {
        "id": str(letter.upload.id),
        "type": letter.event,
        "time": moment(letter.at),
        **_outcome(letter),
        "links": {"upload": root + path(letter.upload.id)},
    }


def _outcome(letter: Letter) -> dict[str, object]:
    return {
        "target": letter.target,
        "status": letter.status.value,
        "attempts": letter.attempts,
        "due_at": letter.due_at and moment(letter.due_at),
        "delivered_at": letter.delivered_at and moment(letter.delivered_at),
        "died_at": letter.died_at and moment(letter.died_at),
        "error": letter.error,
    }


def _untold(target: str) -> dict[str, object]:
    moments: dict[str, object] = {"due_at": None, "delivered_at": None, "died_at": None}
    return {"target": target, "status": Handed.PENDING.value, "attempts": 0, **moments, "error": None}
