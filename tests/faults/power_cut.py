"""`python -m tests.faults.power_cut`: the power fails at every step of an upload, on a real ext4. Prints what was there
after the next start, step by step. Needs root, and a kernel that mounts files.

The file system is told to stop as if its device were gone (ioctl `EXT4_IOC_SHUTDOWN`, without a last flush of its log),
then it is mounted anew, and a server starts on it.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from unittest.mock import patch

from maie_aiohttp.stores import fsio
from tests.faults.doors import Door, Raw, Tus
from tests.faults.injector import Injector
from tests.faults.invariants import check
from tests.faults.kinds import CALLS, CATALOG, READING, Call, Fault, die
from tests.faults.ledger import Ledger
from tests.faults.place import Place, running
from tests.faults.processes import in_child
from tests.faults.silence import silence
from tests.layers import MIB, query

SHUTDOWN = 0x8004587D
WITHOUT_FLUSH = struct.pack("I", 2)
SIZE = 64 * MIB
DOORS: dict[str, type[Door]] = {"raw": Raw, "tus": Tus}
END = "after the answer"


@dataclass(frozen=True, slots=True)
class Step:
    """Where the power failed, and what the next start found."""

    name: str
    told: str
    """To the client, before it."""
    kept: str
    violations: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"| {self.name} | {self.told} | {self.kept} |"]
        return "\n".join([*lines, *(f"VIOLATION: {violation}" for violation in self.violations)])


class Disk:
    """A file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "image"
        self.root = folder / "disk"
        self.root.mkdir()
        with self.image.open("wb") as image:
            image.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)

    @contextmanager
    def mounted(self, options: str = "loop") -> Iterator[Path]:
        """The place for data."""
        subprocess.run(["mount", "-o", f"loop,{options}", self.image, self.root], check=True)
        try:
            yield self.root / "data"
        finally:
            subprocess.run(["umount", self.root], check=True)

    def cut(self) -> None:
        """Let the power fail. From here on, every call to it fails."""
        descriptor = os.open(self.root, os.O_RDONLY)
        fcntl.ioctl(descriptor, SHUTDOWN, WITHOUT_FLUSH)
        os.close(descriptor)

    def fail(self) -> None:
        """Let it find an error in itself."""
        mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
        device = next(Path(mount[0]).name for mount in mounts if mount[1] == str(self.root))
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("injected")

    def repair(self) -> None:
        """As at the next start of the machine."""
        subprocess.run(["e2fsck", "-p", self.image], check=False, capture_output=True)


def steps(door: type[Door], *, flushing: bool = True) -> Iterator[Step]:
    """Every step of an upload; the last one is behind its end."""
    injector = Injector()
    with tempfile.TemporaryDirectory(prefix="power-") as made, injector.installed():
        for number in count(1):
            folder = Path(made, str(number))
            folder.mkdir()
            step = Experiment(folder, injector, door, number, flushing=flushing).run()
            yield step
            if step.name == END:
                return


class Experiment:
    """One step: the call with this number is not made any more."""

    def __init__(self, folder: Path, injector: Injector, door: type[Door], number: int, *, flushing: bool) -> None:
        self._disk = Disk(folder)
        self._ledger = folder / "ledger"
        self._name = folder / "step"
        self._injector = injector
        self._door = door
        self._number = number
        self._flushing = flushing

    def run(self) -> Step:
        """Start a server, let the power fail in an upload, start it again."""
        self._name.write_text(END)
        with self._disk.mounted() as data:
            asyncio.run(self._start(data))
            in_child(partial(self._upload, data))
        told = _told(Ledger(self._ledger))
        with self._disk.mounted() as data:
            kept = asyncio.run(self._look(data))
        return Step(self._name.read_text(), told, kept, tuple(Ledger(self._ledger).violations))

    def _running(self, data: Path) -> AbstractAsyncContextManager[Place]:
        return running(data, self._injector, Ledger(self._ledger))

    async def _start(self, data: Path) -> None:
        async with self._running(data):
            pass

    async def _upload(self, data: Path) -> None:
        fault = Fault("power cut", (CALLS | CATALOG) - READING - {"close", "lseek"}, self._strike)
        with _flushes(real=self._flushing):
            async with self._running(data) as place:
                self._injector.arm(fault, self._number)
                await self._door(place).attempt()
                self._disk.cut()
                die()

    def _strike(self, call: Call) -> None:
        self._name.write_text(f"before {_described(call)}")
        self._disk.cut()
        die()

    async def _look(self, data: Path) -> str:
        """What is there when the server has started again."""
        async with self._running(data) as place:
            kept = _kept(place)
            await check(place)
        return kept


def _described(call: Call) -> str:
    """The call, with its last argument that says something."""
    names = [str(one) for one in call.args if isinstance(one, str)]
    if not names and isinstance(call.args[0] if call.args else None, int):
        names = [str(Path(f"/proc/self/fd/{call.args[0]}").readlink())]
    return " ".join([call.name, *(_short(name) for name in names[:1])])


def _short(name: str) -> str:
    """The same for every upload."""
    if name.startswith(("INSERT", "UPDATE", "DELETE", "SELECT")):
        return " ".join(name.split()[:3])
    path = Path(name)
    folder = "audio/" if path.name in {f"{n:02x}" for n in range(256)} else path.parent.name + "/"
    return folder if folder == "audio/" else f"{folder}{'…' + path.suffix if path.suffix else path.name}"


@contextmanager
def _flushes(*, real: bool) -> Iterator[None]:
    if real:
        yield
        return
    with patch.object(fsio, "fsync", _nothing), patch.object(fsio, "fdatasync", _nothing):
        yield


def _nothing(_: int) -> None:
    """Not flushed."""


def _told(ledger: Ledger) -> str:
    """What the client knows."""
    if ledger.acknowledged:
        return "stored"
    return "".join(f"offset {offset:,}" for offset in ledger.told.values()) or NONE


def _kept(place: Place) -> str:
    """File, record and outbox entry."""
    rows = query(place.folder / "catalog.sqlite", 'SELECT status, "offset" FROM uploads')
    entries = len(query(place.folder / "catalog.sqlite", "SELECT 1 FROM outbox"))
    files = {name: len([one for one in (place.folder / name).rglob("*") if one.is_file()]) for name in FOLDERS}
    told = ", ".join(f"{status}, {offset:,}" if status == "receiving" else str(status) for status, offset in rows)
    where = ", ".join(name for name, number in files.items() if number)
    return f"{where or NONE} | {told or NONE} | {'yes' if entries else NONE}"


NONE = "none"
FOLDERS = ("incoming", "audio", "orphans")
HEADER = "| power fails | client was told | file in | record | outbox |\n|---|---|---|---|---|"


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.power_cut", description="Cut the power at every step."
    )
    parser.add_argument("door", nargs="?", choices=DOORS, default="raw")
    parser.add_argument("--without-flushes", action="store_true", help="to see what they are good for")
    chosen = parser.parse_args(arguments)
    silence()
    sys.stdout.write(f"{HEADER}\n")
    violations = points = 0
    for step in steps(DOORS[chosen.door], flushing=not chosen.without_flushes):
        points, violations = points + 1, violations + len(step.violations)
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{points} power cuts, {violations} violations\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
