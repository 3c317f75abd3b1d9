"""The table of servers: how each is installed, how it is started, and which doors it has."""

from __future__ import annotations

import grp
import os
import pwd
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from string import Template

from benchmarks.cache import PEERS, Cache, program, run

OURS = "maie_aiohttp"
ROOT = Path(__file__).parent.parent
MIB = 1024 * 1024
DEFAULT_LIMIT = 500 * MIB
"""Bytes that ours takes unless told otherwise."""


class Door(StrEnum):
    """How a file is sent."""

    FORM = "form"
    RAW = "raw"
    TUS = "tus"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a door is. `{name}` in the path stands for a UUID of the client's."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Site:
    """What a server is given."""

    folder: Path
    port: int
    largest: int
    """Bytes of the largest file that will be sent."""

    @property
    def uploads(self) -> Path:
        """The folder for the files."""
        return self.folder / "files"


Command = Sequence[str | Path]


def _folder_and_port(site: Site) -> Command:
    return site.uploads, str(site.port)


def _no_variables(_: Site) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Contender:
    """A server to be measured."""

    name: str
    about: str
    install: Callable[[Cache], Awaitable[Command]]
    """Returns the command that starts it; raises Missing."""
    doors: Mapping[Door, Route]
    arguments: Callable[[Site], Command] = _folder_and_port
    """What the command ends with."""
    environment: Callable[[Site], Mapping[str, str]] = field(default=_no_variables)
    health: str = "/health"
    """Answers 200 as soon as the server works."""


async def _ours(_: Cache) -> Command:
    """Its bytecode is made first, as pip makes it for everything it installs."""
    await run(sys.executable, "-m", "compileall", "-q", ROOT / "maie_aiohttp")
    return sys.executable, "-m", "maie_aiohttp"


def _here(script: str) -> Callable[[Cache], Awaitable[Command]]:
    """For this project's own Python."""

    async def install(_: Cache) -> Command:
        return sys.executable, PEERS / "python" / script

    return install


def _python(script: str) -> Callable[[Cache], Awaitable[Command]]:
    async def install(cache: Cache) -> Command:
        return await cache.python(), PEERS / "python" / script

    return install


def _node(script: str) -> Callable[[Cache], Awaitable[Command]]:
    async def install(cache: Cache) -> Command:
        node = program("node")
        return node, await cache.node() / script

    return install


async def _go(cache: Cache) -> Command:
    return (await cache.go(),)


async def _nginx(cache: Cache) -> Command:
    return (await cache.debian("nginx"),)


def _nginx_arguments(site: Site) -> Command:
    """Writes its configuration first."""
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    template = Template(PEERS.joinpath("nginx.conf").read_text())
    configuration = site.folder / "nginx.conf"
    configuration.write_text(template.substitute(folder=site.folder, port=site.port, user=user, group=group))
    return "-p", site.folder, "-c", configuration


def _our_environment(site: Site) -> Mapping[str, str]:
    """Its defaults, but for the port, the folder, and the limit where a file is larger."""
    variables = {"MAIE_SERVER__PORT": str(site.port), "MAIE_STORAGE__FOLDER": str(site.uploads)}
    if site.largest > DEFAULT_LIMIT:
        variables["MAIE_LIMITS__MAX_SIZE"] = f"{site.largest} B"
    return variables


def _two_workers(site: Site) -> Mapping[str, str]:
    return {**_our_environment(site), "MAIE_SERVER__WORKERS": "2"}


UPLOADS = Route("POST", "/v1/uploads")
FORM = {Door.FORM: Route("POST", "/form")}
FORM_AND_RAW = {**FORM, Door.RAW: Route("POST", "/raw")}
DIGESTED = {Door.FORM: Route("POST", "/digested/form"), Door.RAW: Route("POST", "/digested/raw")}
TUS = {Door.TUS: Route("POST", "/files")}

OUR_DOORS = {Door.FORM: UPLOADS, Door.RAW: UPLOADS, Door.TUS: UPLOADS}

CONTENDERS = (
    Contender(
        OURS,
        "maie_aiohttp, as shipped",
        _ours,
        OUR_DOORS,
        arguments=lambda _: (),
        environment=_our_environment,
        health="/ready",
    ),
    Contender(
        f"{OURS}-2",
        "maie_aiohttp, two workers",
        _ours,
        OUR_DOORS,
        arguments=lambda _: (),
        environment=_two_workers,
        health="/ready",
    ),
    Contender("go", "Go net/http + mime/multipart", _go, FORM_AND_RAW),
    Contender("go-digest", "Go, and SHA-256", _go, DIGESTED),
    Contender("node", "Node.js + busboy", _node("busboy.mjs"), FORM_AND_RAW),
    Contender("fastapi", "FastAPI UploadFile + aiofiles", _python("fastapi_server.py"), FORM_AND_RAW),
    Contender("litestar", "Litestar UploadFile + aiofiles", _python("litestar_server.py"), FORM_AND_RAW),
    Contender("naive", "aiohttp + aiofiles for each chunk", _here("naive.py"), FORM_AND_RAW),
    Contender("whole-file", "aiohttp, whole file in memory", _here("whole_file.py"), FORM),
    Contender(
        "nginx",
        "nginx, DAV PUT",
        _nginx,
        {Door.RAW: Route("PUT", "/files/{name}")},
        arguments=_nginx_arguments,
    ),
    Contender("tus-node", "@tus/server + file-store", _node("tus.mjs"), TUS),
    Contender("tuspyserver", "tuspyserver (FastAPI)", _python("tuspyserver_server.py"), TUS),
)
