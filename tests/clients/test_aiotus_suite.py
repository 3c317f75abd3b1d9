"""aiotus's own tests, as they are published, with this server in place of tusd."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from maie_aiohttp import formats, protocols
from maie_aiohttp.formats import Format, Verdict
from maie_aiohttp.pages import content, uploads
from maie_aiohttp.settings import Settings
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.web.records import COLLECTION
from tests.clients.public import public_service
from tests.clients.service import Service, run, unavailable
from tests.conftest import HardenedServer

OVERLAY = Path(__file__).with_name("tusd.py")

UNLIKE_TUSD = ("tests/test_core.py::TestConfiguration::test_configuration_function_tusd",)
"""Asserts that the server names no maximum size."""


class LikeTusd(HardenedServer):
    """This server, and what tusd does besides tus: its collection's URL ends in a slash, and the URL of an upload gives
    its bytes."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.app.middlewares.append(download)
        for route in protocols.ROUTES:
            if route.path == COLLECTION:
                self.app.router.add_route(route.method, f"{COLLECTION}/", route.handler, **route.kwargs)


@web.middleware
async def download(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with the recording where the record was asked for."""
    return await (content.content if request.match_info.handler is uploads.show else handler)(request)


@pytest.fixture
def anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept what is no audio, as aiotus's tests send none."""
    names = frozenset({".bin"})
    row = Format("anything", "application/octet-stream", ".bin", names, frozenset(), "", lambda *_: Evidence.LINEAR_PCM)
    monkeypatch.setattr(formats, "identify", lambda *_: Verdict(row, needs_decode=False))
    monkeypatch.setattr(formats, "check_name", lambda _: None)


@pytest.fixture
async def tusd(folder: Path, anything: None) -> AsyncIterator[Service]:
    """This server, as these tests expect theirs."""
    async with public_service(folder, LikeTusd) as service:
        yield service


@pytest.fixture(scope="session")
def sdist(request: pytest.FixtureRequest) -> Path:
    """The source archive of the aiotus that is installed."""
    cache = request.config.cache
    assert cache is not None
    folder, release = cache.mkdir("aiotus"), f"aiotus-{version('aiotus')}"
    archive = folder / f"{release}.tar.gz"
    if not archive.exists():
        wanted = ("--no-deps", "--no-binary", ":all:", "--dest", folder, release.replace("-", "=="))
        command = (sys.executable, "-m", "pip", "download", *wanted)
        pip = subprocess.run(command, capture_output=True, check=False)
        if pip.returncode:
            unavailable(f"the source of {release} cannot be downloaded: {pip.stderr[-500:].decode()}")
    return archive


@pytest.fixture
def suite(sdist: Path, tmp_path: Path) -> Path:
    """A folder with aiotus's tests, and the certificate that some ask for. Their `conftest.py` stands above them: one
    beside them can so replace its fixtures."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("aiotus-*")
    shutil.rmtree(unpacked / "aiotus")
    (unpacked / "tests/conftest.py").rename(unpacked / "conftest.py")
    shutil.copy(OVERLAY, unpacked / "tests/conftest.py")
    self_sign(unpacked / "nginx.key", unpacked / "selfsigned.crt")
    return unpacked


def self_sign(key: Path, certificate: Path) -> None:
    """Make a certificate for localhost."""
    names = ("-subj", "/", "-addext", "subjectAltName = DNS:localhost")
    where = ("-keyout", key, "-out", certificate)
    subprocess.run(("openssl", "req", "-new", "-x509", "-nodes", *names, *where), check=True, capture_output=True)


async def test_aiotus_own_tests(tusd: Service, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("openssl", "nginx"):
        if not shutil.which(tool):
            unavailable(f"needs {tool}")
    monkeypatch.setenv("TUSD_URL", f"{tusd.uploads}/")
    monkeypatch.chdir(suite)
    deselected = [f"--deselect={test}" for test in UNLIKE_TUSD]
    output = await run(sys.executable, "-m", "pytest", "-q", "tests", *deselected)
    assert " skipped" not in output
