"""Memory that is free goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from pathlib import Path
from maie_aiohttp.limits import allocator

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

allocator.tune()
before = resident()
pieces = [bytes(60_000) for _ in range(1000)]
held = resident()
kept = pieces[::50]
del pieces
allocator.trim()
print(held - before, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_lies_between_things_that_stay_is_given_back() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    held, left = map(int, run.stdout.split())
    assert held > 50_000_000
    assert left < held / 4
