"""Upload FILE to ENDPOINT with tuspy, and write where to. OPTIONS, in JSON, are those of its uploader, and these:

`headers` are sent with every request; `storage` is a file in which it remembers URLs; `stop_at` is an offset at which
it breaks off.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage


def upload(
    endpoint: str,
    file: str,
    *,
    headers: dict[str, str] | None = None,
    storage: str = "",
    stop_at: int | None = None,
    **options: Any,
) -> str:
    """Returns the URL."""
    if storage:
        options |= {"store_url": True, "url_storage": FileStorage(storage)}  # type: ignore[no-untyped-call] # tuspy's
    uploader = TusClient(endpoint, headers=headers).uploader(file, **options)
    uploader.upload(stop_at)
    return str(uploader.url)


if __name__ == "__main__":
    sys.stdout.write(upload(*sys.argv[1:3], **json.loads(sys.argv[3])))
