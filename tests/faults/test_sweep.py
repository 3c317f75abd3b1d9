"""The sweep, with every seventeenth call only: what it asserts holds at all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.sweep import SUBJECTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize("subject", [subject.__name__.lower() for subject in SUBJECTS])
def test_whatever_fails_nothing_is_lost(subject: str, tmp_path: Path) -> None:
    """In a process of its own: it forks, which one with threads must not."""
    command = [sys.executable, "-m", "tests.faults", "--step", "17", subject]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    points, _, violations = done.stdout.splitlines()[-1].partition(" points injected, ")
    assert (int(points) > 5, violations) == (True, "0 violations")
