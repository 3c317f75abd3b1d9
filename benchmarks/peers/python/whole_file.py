"""`benchmarks/whole_file_server.py` at a port that is given.

whole_file.py FOLDER PORT
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiohttp import web

from benchmarks.whole_file_server import FOLDER, upload


async def health(_: web.Request) -> web.Response:
    """`GET /health`."""
    return web.Response()


if __name__ == "__main__":
    app = web.Application(client_max_size=2**40)
    app[FOLDER] = Path(sys.argv[1])
    app.add_routes([web.get("/health", health), web.post("/form", upload)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=None, print=None)
