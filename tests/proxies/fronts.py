"""The server in a process of its own, and reverse proxies in front of it, configured as `docs/deployment` says."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, unused_port
from aiohttp.typedefs import StrOrURL
from yarl import URL

from tests.conftest import Client

DEPLOYMENT = Path(__file__).parents[2] / "docs" / "deployment"

POLL = 0.02
START_LIMIT = 20.0
"""Seconds. No measurement: what takes so long does not start."""

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""
"""What a distribution's own nginx.conf says, below a folder of ours."""


class Elsewhere(TestServer):
    """A server that somebody else started, for a test client."""

    def __init__(self, url: URL) -> None:
        super().__init__(web.Application(), host=str(url.host), port=url.port)
        self._root = url

    async def start_server(self, *_: object, **__: object) -> None:
        """It runs."""

    def make_url(self, path: StrOrURL) -> URL:
        """Also of the absolute links of a server behind a proxy."""
        assert self._root is not None
        url = URL(path)
        return self._root.join(url.relative() if url.absolute else url)


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Client]:
    """A client of the server at `url`."""
    async with TestClient(Elsewhere(URL(url))) as client:
        yield client


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to reach the server."""

    program: str | None
    """The proxy's name; None for no proxy."""
    kept_alive: bool = False
    """Whether requests of several clients share connections to the server. The recommended configurations do not let
    them: here it shows whether that alone keeps them apart."""

    def __str__(self) -> str:
        return (self.program or "direct") + (", kept alive" if self.kept_alive else "")

    @property
    def path(self) -> str | None:
        """Of the program, if it is installed."""
        beside = str(Path(sys.executable).parent)
        return self.program and shutil.which(
            self.program, path=os.pathsep.join((beside, os.environ["PATH"], "/usr/sbin"))
        )


DIRECT = Kind(None)
RECOMMENDED = (Kind("nginx"), Kind("caddy"))
SHARING = (Kind("nginx", kept_alive=True), Kind("caddy", kept_alive=True))


@asynccontextmanager
async def front(kind: Kind, server: str, folder: Path) -> AsyncIterator[str]:
    """The proxy, running before the server at `server`; below `folder` it keeps what it needs. Its URL."""
    if kind.program is None:
        yield server
        return
    port = unused_port()
    arguments = PROGRAMS[kind.program](kind, URL(server).authority, port, folder)
    own = {"HOME": str(folder), "CADDY_ADMIN": "127.0.0.1:0"}
    with (folder / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            str(kind.path), *arguments, stdout=log, stderr=log, env={**os.environ, **own}
        )
    try:
        await _listening(process, port, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with asyncio.timeout(START_LIMIT):
        while process.returncode is None:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(POLL)
    raise RuntimeError(log.read_text())  # noqa: ASYNC240 - it ends here


def _nginx(kind: Kind, server: str, port: int, folder: Path) -> tuple[str, ...]:
    """Its arguments."""
    site = _replaced("nginx.conf", "proxy_pass http://127.0.0.1:8080;", f"proxy_pass http://{server};")
    site, listening = re.subn(r"^ +listen 443 ssl;$", f"listen 127.0.0.1:{port};", site, flags=re.MULTILINE)
    site, certified = re.subn(r"^ +ssl_certificate.*$", "", site, flags=re.MULTILINE)
    assert (listening, certified) == (1, 2)
    if kind.kept_alive:
        site = site.replace(f"//{server};", '//kept; proxy_set_header Connection "";')
        site += f"upstream kept {{ server {server}; keepalive 4; keepalive_timeout 15s; }}"
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, site=site))
    return "-p", str(folder), "-c", str(configuration)


def _caddy(kind: Kind, server: str, port: int, folder: Path) -> tuple[str, ...]:
    """Its arguments."""
    site = _replaced("Caddyfile", "\naudio.example.org {", f"\nhttp://:{port} {{\n\tbind 127.0.0.1")
    site = site.replace("127.0.0.1:8080", server)
    if kind.kept_alive:
        site = site.replace("keepalive off", "keepalive 15s")
    configuration = folder / "Caddyfile"
    configuration.write_text(site)
    return "run", "--adapter", "caddyfile", "--config", str(configuration)


PROGRAMS: Mapping[str, Callable[[Kind, str, int, Path], tuple[str, ...]]] = {"nginx": _nginx, "caddy": _caddy}


def _replaced(name: str, old: str, new: str) -> str:
    text = (DEPLOYMENT / name).read_text()
    assert text.count(old) == 1
    return text.replace(old, new)
