"""Both doors, from a client's first byte to the file on disk, with curl."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import FormData

from tests import audio
from tests.conftest import Client, files

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


async def curl(*arguments: str) -> bytes:
    """What curl prints. Fails on any status but 2xx."""
    command = ["curl", "--silent", "--show-error", "--fail-with-body", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


async def by_form(url: str, path: Path) -> dict[str, Any]:
    answer = json.loads(await curl("--form", f"file=@{path}", url))
    assert list(answer) == ["uploads"]
    (upload,) = answer["uploads"]
    return dict(upload)


async def by_raw_body(url: str, path: Path) -> dict[str, Any]:
    name = f'Content-Disposition: attachment; filename="{path.name}"'
    return dict(json.loads(await curl("--request", "POST", "--upload-file", str(path), "--header", name, url)))


@pytest.mark.parametrize("name", audio.NAMES)
async def test_every_format_is_stored_as_it_was_sent(client: Client, folder: Path, tmp_path: Path, name: str) -> None:
    sample = audio.sample(name)
    sent = tmp_path / sample.filename
    sent.write_bytes(sample.content)
    for door in (by_form, by_raw_body):
        upload = await door(str(client.make_url("/v1/uploads")), sent)
        assert upload["sha256"] == hashlib.sha256(sample.content).hexdigest()
        assert (upload["format"], upload["media_type"]) == (sample.format, sample.media_type)
        assert (upload["filename"], upload["size"]) == (sample.filename, len(sample.content))
        stored = f"audio/{upload['id'][:2]}/{upload['id']}{sample.extension}"
        assert UUID(upload["id"]).version == 4
        assert (folder / stored).read_bytes() == sample.content
        assert await curl(str(client.make_url(upload["links"]["content"]))) == sample.content
    assert len(files(folder)) == 2


@pytest.mark.parametrize("film", [audio.video, audio.webm_video])
async def test_video_is_refused_whatever_it_is_called(client: Client, folder: Path, film: Any) -> None:
    form = FormData()
    form.add_field("file", film(), filename="speech.m4a", content_type="audio/mp4")
    answer = await client.post("/v1/uploads", data=form)
    assert answer.status == 415
    assert "video" in (await answer.json())["detail"]
    assert files(folder) == []


async def test_answer_names_the_upload_and_its_digest(client: Client) -> None:
    sample = audio.sample("ogg-opus")
    answer = await client.post("/v1/uploads", data=sample.content, headers={"Content-Type": "audio/ogg"})
    record = await answer.json()
    assert answer.headers["Location"] == record["links"]["self"] == f"/v1/uploads/{record['id']}"
    assert re.fullmatch(r"sha-256=:[A-Za-z0-9+/]{43}=:", answer.headers["Repr-Digest"])
    assert record["created_at"] <= record["stored_at"]
    assert record["stored_at"].endswith("Z")
