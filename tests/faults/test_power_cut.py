"""A power cut at every step of an upload, on a real ext4."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layers import as_root

pytestmark = [
    as_root,
    pytest.mark.skipif(
        shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists(), reason="mounts one"
    ),
]


def cut(folder: Path, *arguments: str) -> list[str]:
    """What is told, line by line."""
    command = [sys.executable, "-m", "tests.faults.power_cut", *arguments]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("door", ["raw", "tus"])
def test_fault_9_a_power_cut_at_any_step_loses_nothing(door: str, tmp_path: Path) -> None:
    lines = cut(tmp_path, door)
    assert lines[-1].endswith("power cuts, 0 violations"), "\n".join(lines)
    assert lines[-2] == "| after the answer | stored | audio | stored | yes |"


def test_without_flushes_it_would(tmp_path: Path) -> None:
    """So a test that finds nothing has looked."""
    assert not cut(tmp_path, "raw", "--without-flushes")[-1].endswith(" 0 violations")
