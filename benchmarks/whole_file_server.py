"""The simple way to take an upload: read the whole file into memory, then write it to the disk.

whole_file_server.py FOLDER
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path
from uuid import uuid4

import aiofiles
from aiohttp import BodyPartReader, web

FOLDER = web.AppKey("folder", Path)


async def upload(request: web.Request) -> web.Response:
    """`POST /v1/uploads`, a form with one file."""
    form = await request.multipart()
    part = await form.next()
    assert isinstance(part, BodyPartReader)  # noqa: S101 - a measurement sends nothing else
    content = await part.read()
    id = str(uuid4())
    async with aiofiles.open(request.app[FOLDER] / id, "wb") as file:
        await file.write(content)
    record = {"id": id, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return web.json_response({"uploads": [record]}, status=201)


async def serve(folder: Path) -> None:
    """On any free port, until killed."""
    app = web.Application(client_max_size=2**40)
    app[FOLDER] = folder
    app.router.add_post("/v1/uploads", upload)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    sys.stderr.write(json.dumps({"event": "ready", "url": f"http://{host}:{port}"}) + "\n")
    sys.stderr.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
