"""Both doors, from a client's first byte to the file on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from aiohttp import FormData

from tests import audio
from tests.conftest import Client, files


@pytest.mark.parametrize("name", audio.NAMES)
async def test_form_stores_every_format_as_it_was_sent(client: Client, folder: Path, name: str) -> None:
    sample = audio.sample(name)
    form = FormData(quote_fields=False)
    form.add_field("file", sample.content, filename=sample.filename, content_type="application/octet-stream")
    answer = await client.post("/v1/uploads", data=form)
    assert answer.status == 201, await answer.text()
    (upload,) = (await answer.json())["uploads"]
    assert upload["sha256"] == hashlib.sha256(sample.content).hexdigest()
    assert (upload["format"], upload["media_type"]) == (sample.format, sample.media_type)
    stored = f"audio/{upload['id'][:2]}/{upload['id']}{sample.extension}"
    assert files(folder) == [stored]
    assert (folder / stored).read_bytes() == sample.content
    content = await client.get(upload["links"]["content"])
    assert await content.read() == sample.content
