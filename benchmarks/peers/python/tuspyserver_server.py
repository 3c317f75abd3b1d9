"""tuspyserver's router in a FastAPI application, as its own page shows it.

tuspyserver_server.py FOLDER PORT
"""

# Installed with the other peers, not beside this project.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from tuspyserver import create_tus_router


async def health() -> None:
    """`GET /health`."""


app = FastAPI()
app.add_api_route("/health", health)
app.include_router(create_tus_router(prefix="files", files_dir=sys.argv[1]))

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
