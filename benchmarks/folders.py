"""Where measurements take place."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients.recording import Recording, write
from benchmarks.metrics import MIB
from benchmarks.results import available_memory


@dataclass(frozen=True, slots=True)
class Folders:
    """One of each kind."""

    memory: Path
    """On a memory file system."""
    disk: Path
    """On a real disk."""

    def recording(self, size: int) -> Recording:
        """A file to send, in memory."""
        return write(size, self.memory)

    def room(self) -> int:
        """Bytes that files in memory and the servers can take together."""
        return min(shutil.disk_usage(self.memory).free, available_memory())

    def touch(self, size: int) -> None:
        """Write and delete so many bytes in memory, or half of what is free. On a virtual machine, whoever is the first
        to use a page waits until the host has found one; let that be nobody who is measured. Some hosts take back
        within seconds what is not used."""
        block = bytes(MIB)
        with tempfile.TemporaryFile(dir=self.memory, buffering=0) as file:
            for _ in range(min(size, self.room() // 2) // MIB):
                file.write(block)
