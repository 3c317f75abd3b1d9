"""Peers and clients, installed from the package registries into a folder outside the tree, once."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from benchmarks.failures import Missing

DEFAULT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "maie-benchmarks")
PEERS = Path(__file__).with_name("peers")


class Cache:
    """Gives the programs that run the peers. All methods raise Missing, with the reason."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def python(self) -> Path:
        """A Python with the peers written in it."""
        environment = self._folder / "python"
        requirements = PEERS / "python/requirements.txt"
        if not self._is_fresh(environment, requirements):
            await run(sys.executable, "-m", "venv", "--clear", environment)
            await run(environment / "bin/pip", "install", "--quiet", "--requirement", requirements)
            self._mark_fresh(environment, requirements)
        return environment / "bin/python"

    async def node(self) -> Path:
        """A folder with the peers written for Node.js, beside the packages they import."""
        folder = self._folder / "node"
        if not self._is_fresh(folder, *_files("node")):
            program("npm")
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(PEERS / "node", folder)
            await run("npm", "ci", "--ignore-scripts", "--omit=optional", folder=folder)
            self._mark_fresh(folder, *_files("node"))
        return folder

    async def go(self) -> Path:
        """The peer written in Go, compiled; the compiler comes as a package for Python."""
        folder = self._folder / "go"
        if not self._is_fresh(folder, *_files("go")):
            compiler = (await self.python()).with_name("go")
            environment = {"GOCACHE": str(folder / "cache"), "GOTOOLCHAIN": "local"}
            await run(compiler, "build", "-o", folder / "peer", ".", folder=PEERS / "go", environment=environment)
            self._mark_fresh(folder, *_files("go"))
        return folder / "peer"

    async def debian(self, name: str) -> Path:
        """A program that has its package's name, from PATH or else, for root, from Debian."""
        if not shutil.which(name):
            if os.geteuid() or not shutil.which("apt-get"):
                raise Missing(f"{name} is not on PATH")
            await run("apt-get", "update", "-qq")
            await run("apt-get", "install", "-qq", "--yes", name, environment={"DEBIAN_FRONTEND": "noninteractive"})
        return program(name)

    def _is_fresh(self, folder: Path, *sources: Path) -> bool:
        mark = folder / "made-from"
        return mark.exists() and mark.read_text() == _fingerprint(*sources)

    def _mark_fresh(self, folder: Path, *sources: Path) -> None:
        (folder / "made-from").write_text(_fingerprint(*sources))


def program(name: str) -> Path:
    """A program on PATH. Raises Missing."""
    found = shutil.which(name)
    if not found:
        raise Missing(f"{name} is not on PATH")
    return Path(found)


async def run(*command: str | Path, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end. Returns what it printed; raises Missing, with the last of it, if it failed."""
    variables = {**os.environ, **(environment or {})}
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=variables, stdout=PIPE, stderr=STDOUT)
    printed = (await process.communicate())[0].decode(errors="replace").strip()
    if process.returncode:
        raise Missing(f"{Path(command[0]).name} failed: {printed[-300:]}")
    return printed


async def versions() -> Sequence[str]:
    """Of the programs and packages that take part."""
    packages = json.loads(PEERS.joinpath("node/package.json").read_text())["dependencies"]
    requirements = PEERS.joinpath("python/requirements.txt").read_text().split()
    found = [f"{name}=={metadata.version(name)}" for name in ("maie-aiohttp", "aiohttp")]
    for name, flag in (("curl", "--version"), ("node", "--version"), ("nginx", "-v")):
        with suppress(Missing, FileNotFoundError):
            found += [f"{name}=={number}" for number in re.findall(r"\d+\.[\d.]+", await run(name, flag))[:1]]
    return [*found, *requirements, *(f"{name}=={version}" for name, version in packages.items())]


def _files(language: str) -> list[Path]:
    return sorted(PEERS.joinpath(language).iterdir())


def _fingerprint(*sources: Path) -> str:
    return sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
