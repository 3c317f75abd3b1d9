"""aiohttp, and a thread of aiofiles for each chunk: what this server would be if it did nothing about it.

naive.py FOLDER PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

import aiofiles
from aiohttp import BodyPartReader, web

FOLDER = Path(sys.argv[1])


async def health(_: web.Request) -> web.Response:
    """`GET /health`."""
    return web.Response()


async def form(request: web.Request) -> web.Response:
    """`POST /form`, with one file."""
    part = await (await request.multipart()).next()
    assert isinstance(part, BodyPartReader)  # noqa: S101 - a measurement sends nothing else
    async with aiofiles.open(FOLDER / str(uuid4()), "wb") as stored:
        while chunk := await part.read_chunk(65_536):
            await stored.write(chunk)
    return web.Response(status=201)


async def raw(request: web.Request) -> web.Response:
    """`POST /raw`: the body is the file."""
    async with aiofiles.open(FOLDER / str(uuid4()), "wb") as stored:
        async for chunk in request.content.iter_any():
            await stored.write(chunk)
    return web.Response(status=201)


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/health", health), web.post("/form", form), web.post("/raw", raw)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=None, print=None)
