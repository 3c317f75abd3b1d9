"""FastAPI's `UploadFile`, copied to the disk with aiofiles.

fastapi_server.py FOLDER PORT
"""

# Installed with the other peers, not beside this project.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

import aiofiles
import uvicorn
from fastapi import FastAPI, Request, UploadFile

FOLDER = Path(sys.argv[1])
CHUNK_SIZE = 65_536


async def health() -> None:
    """`GET /health`."""


async def form(file: UploadFile) -> None:
    """`POST /form`, with one file."""
    async with aiofiles.open(FOLDER / str(uuid4()), "wb") as stored:
        while chunk := await file.read(CHUNK_SIZE):
            await stored.write(chunk)


async def raw(request: Request) -> None:
    """`POST /raw`: the body is the file."""
    async with aiofiles.open(FOLDER / str(uuid4()), "wb") as stored:
        async for chunk in request.stream():
            await stored.write(chunk)


app = FastAPI()
app.add_api_route("/health", health)
app.add_api_route("/form", form, methods=["POST"], status_code=201)
app.add_api_route("/raw", raw, methods=["POST"], status_code=201)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
