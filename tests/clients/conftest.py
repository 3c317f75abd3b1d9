"""The server, a file to send, and the clients that have to be installed."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.service import RECORDING, Service, unavailable
from tests.conftest import Client

NODE = Path(__file__).with_name("node")


@pytest.fixture
def service(client: Client) -> Service:
    """The server on its defaults."""
    return Service(client)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """`RECORDING` as a file."""
    path = tmp_path / "recording.wav"
    path.write_bytes(RECORDING)
    return path


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder of the scripts for Node.js, with the packages they import installed."""
    if not shutil.which("node") or not shutil.which("npm"):
        unavailable("needs Node.js and npm")
    lock, installed = NODE / "package-lock.json", NODE / "node_modules/.package-lock.json"
    with lock.open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # tests run in several processes
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            install = subprocess.run(("npm", "ci", "--ignore-scripts"), cwd=NODE, capture_output=True, check=False)
            if install.returncode:
                unavailable(f"npm cannot install the clients: {install.stderr[-500:].decode()}")
    return NODE
