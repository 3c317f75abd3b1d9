"""`python -m maie_aiohttp keys`: before the first start, beside a server, and beside several workers."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession

from maie_aiohttp.catalogs.salvage import salvage
from maie_aiohttp.command import main
from maie_aiohttp.credentials import digest_of
from maie_aiohttp.limits.quota import Quota
from tests import crew
from tests.conftest import configure, serving
from tests.keys import EVERYTHING, bearer, key
from tests.layers import as_root, sql_catalog
from tests.scenarios import process
from tests.wire import COLLECTION, WAV

KEY = re.compile(r"maie_[\w-]{43}", re.ASCII)
TIMES_OUT = 20
"""Seconds. No measurement: what takes so long hangs."""


def environment(folder: Path) -> dict[str, str]:
    """What the command reads its settings from."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAIE_")}
    root = str(Path(__file__).parents[1])
    return {**inherited, "MAIE_STORAGE__FOLDER": str(folder), "PYTHONPATH": root}


async def keys(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command, where there is no settings file."""
    command = sys.executable, "-m", "maie_aiohttp", "keys", *words
    done = await asyncio.create_subprocess_exec(
        *command, cwd=folder.parent, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await done.communicate()
    return subprocess.CompletedProcess(command, done.returncode or 0, out.decode(), err.decode())


async def created(folder: Path, *words: str) -> str:
    """A new key."""
    done = await keys(folder, "create", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


async def becomes(session: ClientSession, status: int, secret: str) -> None:
    """Wait until the key gets this answer."""
    async with asyncio.timeout(TIMES_OUT):
        while True:
            async with session.get(COLLECTION, headers=bearer(secret)) as answer:
                if answer.status == status:
                    return
            await asyncio.sleep(0.05)


QUOTAS = {
    ("--quota-bytes", "10GB", "--quota-files", "1000", "--quota-window", "7 d", "--uploads", "50"): (
        "quota 10 GB and 1000 files and 50 uploads at a time in 7 d",
        Quota(10**10, 1000, 50, timedelta(days=7)),
    ),
    ("--quota-bytes", "1 B"): ("quota 1 B in 1 d", Quota(1)),
    ("--uploads", "1"): ("quota 1 uploads at a time in 1 d", Quota(uploads=1)),
    ("--quota-window", "31 d"): ("quota without limit", Quota(window=timedelta(days=31))),
    (): ("", None),
}


@pytest.mark.parametrize(("words", "described", "quota"), [(k, *v) for k, v in QUOTAS.items()])
async def test_a_quota_is_kept_with_the_key(
    folder: Path, words: Sequence[str], described: str, quota: Quota | None
) -> None:
    await created(folder, "ada", "--scope", "upload", *words)
    listed = await keys(folder, "list")
    assert ("quota" in listed.stdout) == bool(quota)
    assert listed.stdout.endswith(f"{described}\n")
    async with sql_catalog(folder / "catalog.sqlite") as catalog:
        assert [key.quota for key in await catalog.keyring.all()] == [quota]


async def test_before_the_first_start_and_beside_a_server(folder: Path) -> None:
    secret = await created(folder, "ada", "--scope", "upload,read", "--owner", "lab", "--expires", "90 d")
    assert KEY.fullmatch(secret)
    async with process.serving(folder) as server, ClientSession(await server.url()) as session:
        await becomes(session, 200, secret)
        later = await created(folder, "bob", "--scope", "read")
        await becomes(session, 200, later)
        assert (await keys(folder, "revoke", "ada")).returncode == 0
        await becomes(session, 401, secret)
        await becomes(session, 200, later)
        listed = await keys(folder, "list")
    ada, bob = listed.stdout.splitlines()
    assert re.fullmatch(r"ada: read,upload, owner lab, created [\d :Z-]+, expires [\d :Z-]+, revoked [\d :Z-]+", ada)
    assert re.fullmatch(r"bob: read, owner bob, created [\d :Z-]+", bob)
    for word in (secret, later, digest_of(secret), digest_of(later)):
        assert word not in listed.stdout + "".join(server.log)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_all_workers_hear_of_it(folder: Path) -> None:
    async with crew.serving(folder) as team:
        secret = await created(folder, "ada", "--scope", "read")
        for pid in team.pids:
            async with team.client_of(pid) as session:
                await becomes(session, 200, secret)
        await keys(folder, "revoke", "ada")
        for pid in team.pids:
            async with team.client_of(pid) as session:
                await becomes(session, 401, secret)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_all_workers_keep_from_each_what_is_not_theirs(folder: Path) -> None:
    ada, bob = [bearer(await created(folder, name, "--scope", "upload,read")) for name in ("ada", "bob")]
    async with crew.serving(folder) as team:
        here, there = team.pids
        async with (
            team.client_of(here) as listening,
            team.client_of(there) as sending,
            listening.get("/v1/events", headers=ada) as stream,
        ):
            his, hers = [await stored(sending, who) for who in (bob, ada)]
            heard = b""
            async with asyncio.timeout(TIMES_OUT):
                while hers not in heard.partition(b"event: stored")[2]:
                    heard += await stream.content.readany()
    assert his not in heard


async def stored(session: ClientSession, who: Mapping[str, str]) -> bytes:
    """The id of a new upload."""
    async with session.post(COLLECTION, data=WAV, headers=who) as answer:
        assert answer.status == 201
        return str((await answer.json())["id"]).encode()


async def test_names_are_not_used_twice(folder: Path) -> None:
    await created(folder, "ada", "--scope", "read")
    for again in range(2):
        done = await keys(folder, "create", "ada", "--scope", "admin")
        assert (done.returncode, done.stdout) == (1, "")
        assert "not used twice" in done.stderr
        assert (await keys(folder, "revoke", "ada")).returncode == again
    assert (await keys(folder, "revoke", "bob")).returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        ["create", "ada"],
        ["create", "ada", "--scope", ""],
        ["create", "ada", "--scope", "read,write"],
        ["create", "ada b", "--scope", "read"],
        ["create", "", "--scope", "read"],
        ["create", "a" * 65, "--scope", "read"],
        ["create", "a\n", "--scope", "read"],
        ["create", "ä", "--scope", "read"],
        ["create", "maie_looks-like-a-key", "--scope", "read"],
        ["create", "ada", "--scope", "read", "--owner", "a b"],
        ["create", "ada", "--scope", "read", "--expires", "90"],
        ["create", "ada", "--scope", "read", "--expires", "0 d"],
        ["create", "ada", "--scope", "read", "--expires", "999999999999 d"],
        ["create", "ada", "--scope", "upload", "--quota-bytes", "10"],
        ["create", "ada", "--scope", "upload", "--quota-bytes", "0 B"],
        ["create", "ada", "--scope", "upload", "--quota-bytes", "99999999999 TB"],
        ["create", "ada", "--scope", "upload", "--quota-files", "0"],
        ["create", "ada", "--scope", "upload", "--quota-files", "ten"],
        ["create", "ada", "--scope", "upload", "--uploads", "-1"],
        ["create", "ada", "--scope", "upload", "--quota-window", "0 d"],
        ["create", "ada", "--scope", "upload", "--quota-window", "32 d"],
        ["revoke", "maie_looks-like-a-key"],
        [],
    ],
)
def test_what_makes_no_sense_is_refused(
    folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAIE_STORAGE__FOLDER", str(folder))
    with pytest.raises(SystemExit) as ended:
        main(["keys", *words])
    assert ended.value.code == 2
    assert "looks-like" not in "".join(capsys.readouterr())
    assert not folder.exists()


def test_a_server_for_others_names_the_setting_and_the_way_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("MAIE_STORAGE__FOLDER", str(folder))
    monkeypatch.setenv("MAIE_SERVER__HOST", "0.0.0.0")  # noqa: S104 - that is what it is about
    monkeypatch.setenv("MAIE_SERVER__PORT", "0")
    for workers in ("1", "2"):
        monkeypatch.setenv("MAIE_SERVER__WORKERS", workers)
        assert main([]) == 2
        complaint = capsys.readouterr().err
        assert complaint.startswith("access.without_keys: ")
        assert "python -m maie_aiohttp keys create" in complaint


@as_root
def test_nothing_is_made_in_the_folder_of_another_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("MAIE_STORAGE__FOLDER", str(folder))
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    assert main(["keys", "create", "ada", "--scope", "read"]) == 1
    said = capsys.readouterr()
    assert "belongs to another user" in said.err
    assert said.out == ""
    assert list(folder.iterdir()) == []


async def test_a_catalog_made_anew_keeps_the_keys(folder: Path, tmp_path: Path) -> None:
    async with serving(configure(folder)) as client:
        secret = await key(client, "ada", EVERYTHING)
    salvage(folder / "catalog.sqlite", tmp_path / "new.sqlite", [])
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as new:
        assert new.execute("SELECT name, digest FROM api_keys").fetchall() == [("ada", digest_of(secret))]
