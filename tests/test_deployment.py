"""What docs/deployment.md recommends, as it stands there: the settings, the unit, and a real nginx at the socket."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession, TCPConnector

from maie_aiohttp.settings import load
from tests import certificates
from tests.certificates import Pair, issue
from tests.crew import until
from tests.scenarios import process
from tests.wire import COLLECTION, WAV

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "deployment.md").read_text(encoding="utf-8")
BLOCKS: dict[str, str] = dict(re.findall(r"```(ini|toml)\n(.*?)```", PAGE, re.DOTALL))

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"

MAIN = """
daemon off;
pid {place}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    {block}
}}
"""


def test_the_settings_are_settings(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(BLOCKS["toml"])
    assert load(file).server.unix_socket == Path("/run/maie/upload.sock")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "maie.service"
    unit.write_text(BLOCKS["ini"].replace("/opt/maie/bin/python", "/bin/sh"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "maie.service" in line] == []
    assert done.returncode == 0


@asynccontextmanager
async def nginx(place: Path, upstream: Path, pair: Pair) -> AsyncIterator[ClientSession]:
    """It runs, with a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    block = (DOCS / "deployment" / "nginx.conf").read_text(encoding="utf-8")
    block = block.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    block = block.replace("http://127.0.0.1:8080", f"http://unix:{upstream}:")
    block = re.sub(r"(ssl_certificate) \S+;", rf"\1 {pair.certificate};", block)
    block = re.sub(r"(ssl_certificate_key) \S+;", rf"\1 {pair.key};", block)
    (place / "nginx.conf").write_text(f"user root;\n{MAIN.format(place=place, block=block)}")
    running = await asyncio.create_subprocess_exec(NGINX, "-p", str(place), "-c", str(place / "nginx.conf"), stderr=-3)
    context = ssl.create_default_context(cafile=pair.certificate)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        async with ClientSession(f"https://localhost:{port}", connector=TCPConnector(ssl=context)) as client:
            await answers(client)
            yield client
    finally:
        running.terminate()
        await running.wait()


async def answers(client: ClientSession) -> None:
    """Wait until it does."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with client.get("/ready") as answer:
                    assert answer.status == 200
                    return
            except ClientConnectorError:
                await asyncio.sleep(0.05)


@pytest.mark.skipif(not Path(NGINX).exists(), reason="no nginx here")
@pytest.mark.skipif(certificates.MISSING, reason="openssl makes the certificates")
async def test_nginx_passes_on_what_is_true(folder: Path, tmp_path: Path) -> None:
    path, pair = tmp_path / "upload.sock", issue(tmp_path / "pair")
    settings = {"server.unix_socket": str(path), "access.without_keys": "anybody"}
    async with process.serving(folder, settings) as server, nginx(tmp_path, path, pair) as client:
        origin = str(client._base_url).rstrip("/")
        lies = {
            "Forwarded": "for=192.0.2.7;proto=http;host=evil.example",
            "X-Forwarded-For": "192.0.2.7",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Prefix": "/evil",
        }
        async with client.post(COLLECTION, data=WAV, headers=lies) as answer:
            assert answer.status == 201
            assert answer.headers["Location"].startswith(f"{origin}{COLLECTION}/")
            record = await answer.json()
        async with client.get(record["links"]["content"]) as content:
            assert await content.read() == WAV
            assert content.headers.getall("Strict-Transport-Security") == ["max-age=31536000"]
        async with client.post(COLLECTION, data=WAV, headers={"Origin": "https://evil.example"}) as answer:
            assert answer.status == 403
        async with client.post(COLLECTION, data=WAV, headers={"Origin": origin}) as answer:
            assert answer.status == 201
        said = ('"address": "127.0.0.1"', '"action": "create"')
        await until(lambda: any(all(word in line for word in said) for line in server.log))
