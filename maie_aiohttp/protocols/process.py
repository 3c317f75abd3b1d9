"""MAIE's own door: a form with one recording, and with what is to be made of it."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.credentials import Scope
from maie_aiohttp.model import Upload
from maie_aiohttp.protocols import multipart
from maie_aiohttp.protocols.answers import digest
from maie_aiohttp.protocols.entry import entered
from maie_aiohttp.web.appkeys import PIPELINE
from maie_aiohttp.web.locations import root
from maie_aiohttp.web.permission import Action, needs, refuse_token
from maie_aiohttp.web.problems import HTTP_KINDS, problem
from maie_aiohttp.web.records import STATUS
from maie_aiohttp.web.trail import note


@needs(Scope.UPLOAD, to=Action.CREATE)
async def receive(request: web.Request) -> web.Response:
    """`POST /v1/process`: answered with 202 when neither the recording can be lost, nor what is to be made of it."""
    refuse_token(request)
    pipeline = request.app[PIPELINE]
    with entered(request) as body:
        await pipeline.admit()
        if request.content_type != "multipart/form-data":
            return problem(request, HTTP_KINDS[415], "Send a form: multipart/form-data.")
        form = multipart.Form("process", max_files=1, check=pipeline.check, accept=pipeline.accept)
        (upload,) = await multipart.receive(request, body, form)
    return _accepted(request, upload)


def _accepted(request: web.Request, upload: Upload) -> web.Response:
    note(request, upload.id)
    headers = {"Location": f"{root(request)}{STATUS}/{upload.id}", **digest(upload)}
    return web.json_response({"task_id": str(upload.id), "status": "PENDING"}, status=202, headers=headers)
