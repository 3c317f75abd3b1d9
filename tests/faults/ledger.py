"""What clients know: written down as they learn it, in a file that a kill does not reach."""

from __future__ import annotations

import hashlib
import json
from functools import cache, lru_cache
from pathlib import Path

from tests import audio
from tests.layers import KIB

SIZE = 200 * KIB
"""Bytes of a recording, about: three blocks."""


@lru_cache(64)
def content(number: int) -> bytes:
    """A recording that no other number has."""
    return b"".join(audio.long_wav(SIZE + 2 * number))


@cache
def digest(number: int) -> str:
    """Its SHA-256, hexadecimal."""
    return hashlib.sha256(content(number)).hexdigest()


class Ledger:
    """Of all clients of one server. Whoever got no answer notes nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.acknowledged: dict[str, str] = {}
        """The SHA-256 of each upload that was answered with 201, by its id."""
        self.told: dict[str, int] = {}
        """The offset of each upload that comes in pieces, as it was told last."""
        self.recordings: dict[str, int] = {}
        """Which of the recordings such an upload is."""
        self.keys: dict[str, int] = {}
        """Which of the recordings was sent with an idempotency key."""
        self.leaving: set[str] = set()
        """Uploads whose end was asked for."""
        self.gone: set[str] = set()
        """Those whose end was acknowledged."""
        self.violations: list[str] = []
        if file.exists():
            for line in file.read_text().splitlines():
                self._learn(*json.loads(line))

    def _note(self, word: str, *details: str | int) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps([word, *details]) + "\n")
        self._learn(word, *details)

    def _learn(self, word: str, *details: str | int) -> None:
        match word, *details:
            case "stored", str(id), str(sha256):
                self.acknowledged[id] = sha256
                self.told.pop(id, None)
            case "begun", str(id), int(number):
                self.recordings[id] = number
                self.told.setdefault(id, 0)
            case "told", str(id), int(offset):
                self.told[id] = offset
            case "keyed", str(key), int(number):
                self.keys[key] = number
            case "leaving", str(id):
                self.leaving.add(id)
            case "gone", str(id):
                self.gone.add(id)
                self.told.pop(id, None)
            case "violation", str(text):
                self.violations.append(text)

    def stored(self, id: str, sha256: str) -> None:
        """An upload was answered with 201."""
        self._note("stored", id, sha256)

    def begun(self, id: str, number: int) -> None:
        """An upload that comes in pieces was created."""
        self._note("begun", id, number)

    def keyed(self, key: str, number: int) -> None:
        """A recording is sent with a key, and sent again until it is stored, once."""
        self._note("keyed", key, number)

    def heard(self, id: str, offset: int) -> None:
        """An offset was told. It never goes back."""
        if id in self.told:
            if offset < self.told[id]:
                self.complain(f"offset {offset} was told after {self.told[id]}")
            self._note("told", id, offset)

    def asks_to_end(self, id: str) -> None:
        """An upload is to be deleted, or expires."""
        self._note("leaving", id)

    def ended(self, id: str) -> None:
        """It was."""
        self._note("gone", id)

    def complain(self, violation: str) -> None:
        """Note what must never happen."""
        self._note("violation", violation)

    def must_be_there(self) -> dict[str, str]:
        """What is acknowledged and nobody asked to end."""
        return {id: sha256 for id, sha256 in self.acknowledged.items() if id not in self.leaving}
