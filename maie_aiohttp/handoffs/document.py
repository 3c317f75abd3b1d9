"""Events as JSON: CloudEvents 1.0, structured mode. What is told of an upload is its record, as `GET` shows it."""

from __future__ import annotations

import json

from maie_aiohttp.model import Event
from maie_aiohttp.web.records import COLLECTION, as_json, moment

MEDIA_TYPE = "application/cloudevents+json"


def render(event: Event, root: str) -> str:
    """The event; `root` is what stands before the paths of this server's uploads."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": root + COLLECTION,
            "type": event.type,
            "subject": str(event.upload.id),
            "time": moment(event.at),
            "datacontenttype": "application/json",
            "data": as_json(event.upload, root),
        }
    )
