"""Litestar's `UploadFile`, copied to the disk with aiofiles.

litestar_server.py FOLDER PORT
"""

# Installed with the other peers, not beside this project.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import aiofiles
import uvicorn
from litestar import Litestar, Request
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.handlers import get, post
from litestar.params import Body

FOLDER = Path(sys.argv[1])
CHUNK_SIZE = 65_536


async def health() -> None:
    """`GET /health`."""


async def form(data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)]) -> None:
    """`POST /form`, with one file."""
    async with aiofiles.open(FOLDER / str(uuid4()), "wb") as stored:
        while chunk := await data["file"].read(CHUNK_SIZE):
            await stored.write(chunk)


async def raw(request: Request[Any, Any, Any]) -> None:
    """`POST /raw`: the body is the file."""
    async with aiofiles.open(FOLDER / str(uuid4()), "wb") as stored:
        async for chunk in request.stream():
            await stored.write(chunk)


app = Litestar(
    [get("/health")(health), post("/form")(form), post("/raw")(raw)],
    request_max_body_size=None,
    openapi_config=None,
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
