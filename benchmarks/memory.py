"""What an upload adds to a server's memory, here and where whole files are read first.

Prints a Markdown table. Each figure comes from a server of its own: the peak of resident memory during the upload,
less what was resident before it, after one small upload that got everything loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.scenarios.client import client, form, upload
from tests.scenarios.process import MIB, Process, serving
from tests.scenarios.recordings import wav

MB = 1_000_000
WARM_UP = MB

Serving = Callable[[Path], AbstractAsyncContextManager[Process]]


@dataclass(frozen=True, slots=True)
class Load:
    """Uploads through the form door."""

    name: str
    size: int
    """Bytes of each."""
    at_once: int = 1


LOADS = (Load("20 MB", 20 * MB), Load("200 MB", 200 * MB), Load("500 MB", 500 * MB), Load("8 x 20 MB", 20 * MB, 8))
LARGE = Load("2 GiB", 2048 * MIB)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--large", action="store_true", help="2 GiB as well; takes as much memory")
    chosen = parser.parse_args(arguments)
    _write("Uploads | whole file first | this server")
    _write("--- | ---: | ---:")
    for load in (*LOADS, LARGE) if chosen.large else LOADS:
        rises = [asyncio.run(_rise(server, load)) for server in (_whole_files, _product)]
        _write(" | ".join([load.name, *(f"{rise / MIB:,.1f} MiB" for rise in rises)]))


def _write(cells: str) -> None:
    sys.stdout.write(f"| {cells} |\n")
    sys.stdout.flush()


async def _rise(server: Serving, load: Load) -> int:
    """Bytes."""
    with tempfile.TemporaryDirectory() as folder:
        async with server(Path(folder)) as process, client(process) as session:
            await upload(session, form, wav(WARM_UP))
            before = process.memory().now
            process.forget_peak()
            async with TaskGroup() as group:
                uploads = [group.create_task(upload(session, form, wav(load.size))) for _ in range(load.at_once)]
            assert all(task.result().record["size"] == load.size for task in uploads)  # noqa: S101 - else no figure
            return process.memory().peak - before


def _product(folder: Path) -> AbstractAsyncContextManager[Process]:
    return serving(folder / "data", {"limits.max_size": "4 GiB"})


@asynccontextmanager
async def _whole_files(folder: Path) -> AsyncIterator[Process]:
    program = Path(__file__).with_name("whole_file_server.py")
    process = await Process.launch(program, folder, environment=os.environ)
    try:
        yield process
    finally:
        process.signal(signal.SIGKILL)
        await process.ended()


if __name__ == "__main__":
    main()
