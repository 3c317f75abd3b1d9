"""A program to break: a server, and one upload to it. Says how that was answered."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests import audio
from tests.conftest import configure, serving

HEADERS = {"Content-Type": "audio/wav", "Content-Disposition": 'attachment; filename="speech.wav"'}


async def main(folder: Path) -> None:
    """One line on standard output."""
    async with serving(configure(folder, storage={"write_threads": 1}, scrub={"rate": "0 B"})) as client:
        content = audio.sample("wav-u8").content
        async with client.post("/v1/uploads", data=content, headers=HEADERS) as answer:
            document = await answer.json(content_type=None)
            sys.stdout.write(f"answer {answer.status} {document.get('type', document.get('status'))}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
