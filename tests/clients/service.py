"""The server as those see it who upload with a program of their own, and that program at work."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import pytest
from yarl import URL

from maie_aiohttp.web.records import COLLECTION
from tests.audio import long_wav
from tests.conftest import Client

RECORDING = b"".join(long_wav(300_000))
"""Several pieces of the size that the tests let clients send."""

FILENAME = "Διάλογος 録音.wav"
METADATA = {"filename": FILENAME, "filetype": "audio/wav", "speaker": "Дмитрий 🎙"}


@dataclass(frozen=True, slots=True)
class Service:
    """A running server."""

    client: Client

    @property
    def uploads(self) -> str:
        """Where clients create uploads."""
        return str(self.client.make_url(COLLECTION))

    def url(self, location: str) -> str:
        """What a `Location` means, absolute or not."""
        return str(self.client.make_url("/").join(URL(location)))

    async def record(self, location: str) -> dict[str, Any]:
        """What the server says of the upload there."""
        async with self.client.get(self._path(location)) as answer:
            assert answer.status == 200, await answer.text()
            record: dict[str, Any] = await answer.json()
            return record

    async def assert_stored(self, location: str, content: bytes = RECORDING, **expected: object) -> None:
        """The upload there is stored: these bytes, and what is expected of other members of its record."""
        expected |= {"status": "stored", "size": len(content), "sha256": sha256(content).hexdigest()}
        record = await self.record(location)
        assert {name: record[name] for name in expected} == expected
        async with self.client.get(self._path(record["links"]["content"])) as answer:
            assert await answer.read() == content

    async def assert_gone(self, location: str) -> None:
        """Nothing is there."""
        async with self.client.get(self._path(location)) as answer:
            assert answer.status in (404, 410)

    def _path(self, location: str) -> str:
        return URL(location).path


async def run(*command: str | Path, stdin: bytes | None = None) -> str:
    """What the program prints, with `stdin` given to it. Fails, with its complaints, if it does. Its coverage is not
    measured: that would take longer than its work."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    output, complaints = await process.communicate(stdin)
    assert process.returncode == 0, (output + complaints).decode()
    return output.decode()


def unavailable(reason: str) -> NoReturn:
    """A client is not to be had here: skip its tests, but not in CI, where all are."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
