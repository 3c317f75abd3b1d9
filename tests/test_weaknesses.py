"""A known weakness fails the check, and an advisory service that is out of reach does not."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.weaknesses import Report, audit, told

WEAKNESS = {"id": "PYSEC-1", "fix_versions": ["2", "1.5"], "aliases": [], "description": "bad"}


def test_a_known_weakness_is_bad() -> None:
    report = told([{"name": "a", "version": "1", "vulns": [WEAKNESS]}, {"name": "b", "version": "1", "vulns": []}])
    assert report == Report(
        ["a 1: PYSEC-1, fixed in 2, 1.5", "Audited 2 of 2 packages; known weaknesses: 1."], is_bad=True
    )


def test_what_was_not_audited_is_counted() -> None:
    report = told([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}])
    assert report == Report(["Audited 1 of 2 packages; known weaknesses: 0."])


@pytest.mark.parametrize("packages", [[], [{"name": "a", "skip_reason": "not found"}]])
def test_a_service_that_knows_nothing_is_no_audit(packages: list[dict[str, object]]) -> None:
    report = told(packages)
    assert report.lines[0].startswith("No audit: ")
    assert not report.is_bad


async def test_a_service_out_of_reach_is_no_audit() -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    report = await asyncio.to_thread(audit, environment={**os.environ, **nowhere})
    assert report.lines[0].startswith("No audit: the advisory service cannot be reached")
    assert not report.is_bad


async def test_every_package_is_asked_for_and_one_has_a_weakness() -> None:
    """pip-audit itself, and an advisory service of our own."""
    asked: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        name = json.loads(await request.text())["package"]["name"]
        asked.add(name)
        weakness = {"id": "OSV-1", "summary": "bad", "affected": [{"package": {"name": "yarl", "ecosystem": "PyPI"}}]}
        return web.json_response({"vulns": [weakness]} if name == "yarl" else {})

    app = web.Application()
    app.router.add_post("/query", answer)
    async with TestServer(app) as service:
        report = await asyncio.to_thread(
            audit, "--vulnerability-service=osv", f"--osv-url={service.make_url('/query')}"
        )
    assert report.is_bad
    assert [line for line in report.lines if "yarl" in line and "OSV-1, fixed in no version yet" in line]
    assert {"aiohttp", "sqlalchemy", "av"} <= asked
