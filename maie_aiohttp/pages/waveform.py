"""`GET /v1/uploads/{id}/waveform`: a recording's outline, as players draw it; the JSON is that of BBC audiowaveform."""

from __future__ import annotations

import sys
from array import array

from aiohttp import web

from maie_aiohttp.credentials import Scope
from maie_aiohttp.model import Outline
from maie_aiohttp.pages.content import intact
from maie_aiohttp.pages.parameters import number
from maie_aiohttp.web.appkeys import OUTLINES
from maie_aiohttp.web.permission import Action, needs

POINTS = 1_000
MOST_POINTS = 10_000


@needs(Scope.READ, to=Action.READ)
async def waveform(request: web.Request) -> web.Response:
    """Answer with at most `points` pairs of the lowest and the highest sample. Raises `Undecodable`, and `Busy` while
    they are not there yet."""
    points = number(request.query, "points", usual=POINTS, most=MOST_POINTS)
    upload, stored = await intact(request)
    outline = await request.app[OUTLINES].of(upload.id, stored)
    return web.json_response(drawn(outline, points))


def drawn(outline: Outline, points: int) -> dict[str, object]:
    """Version 2 of audiowaveform's data format: what each field means stands in its documentation."""
    pairs = array("h", outline.pairs)
    if sys.byteorder == "big":
        pairs.byteswap()
    lows, highs = pairs[::2], pairs[1::2]
    width = -(-len(lows) // points)
    starts = range(0, len(lows), width)
    return {
        "version": 2,
        "channels": 1,
        "sample_rate": outline.sample_rate,
        "samples_per_pixel": outline.stretch * width,
        "bits": 16,
        "length": len(starts),
        "data": [peak for at in starts for peak in (min(lows[at : at + width]), max(highs[at : at + width]))],
    }
