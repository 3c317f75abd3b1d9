"""This server beside another one of tus 1.0.0, @tus/server: `python -m tests.differential` prints a Markdown table of
the rules in `tests.protocols.tus_rules` that the two do not both keep. Needs npm; installs into a temporary folder.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from yarl import URL

from tests.conftest import configure, serving
from tests.protocols.tus_rules import RULES, USUAL, Profile, Rule, Server, Source, speaking
from tests.wire import COLLECTION

PACKAGES = ("@tus/server@2.4.5", "@tus/file-store@2.1.1")
DEADLINE = 60.0
"""Seconds for one rule."""

KEPT = "as the rule says"

SCRIPT = """
import {Server} from "@tus/server"
import {FileStore} from "@tus/file-store"
const [path, directory, maxSize, lifetime] = process.argv.slice(2)
const datastore = new FileStore({directory, expirationPeriodInMilliseconds: lifetime * 1000})
const server = new Server({path, datastore, maxSize: Number(maxSize)})
const listening = server.listen({host: "127.0.0.1", port: 0}, () => console.log(listening.address().port))
"""

Findings = dict[Rule, str]
"""What was found; nothing where the server does not offer what the rule is about."""
Start = Callable[[Profile], AbstractAsyncContextManager[Server]]


async def main() -> None:
    """Run all rules on both servers and print what they found."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="differential-") as made:
        folder = Path(made)
        _install(folder)
        ours = await _findings(partial(_this_server, folder))
        theirs = await _findings(partial(_tus_server, folder))
    sys.stdout.write("\n".join(_table(ours, theirs)) + "\n")


def _install(folder: Path) -> None:
    (folder / "server.mjs").write_text(SCRIPT)
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
    subprocess.run(command, check=True, stdout=sys.stderr)


@asynccontextmanager
async def _this_server(folder: Path, profile: Profile) -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(dir=folder) as made:
        settings = configure(
            Path(made),
            limits={"max_size": f"{profile.max_size} B"},
            resumable={"lifetime": f"{profile.lifetime} s"},
        )
        async with serving(settings) as client, speaking(client.make_url("/"), profile, "/content") as server:
            yield server


@asynccontextmanager
async def _tus_server(folder: Path, profile: Profile) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        *("node", "server.mjs", COLLECTION, folder / "theirs", str(profile.max_size), str(profile.lifetime)),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        async with speaking(URL(f"http://127.0.0.1:{port}/"), profile, "") as server:
            yield server
    finally:
        if process.returncode is not None:
            raise AssertionError("the server has ended")
        process.kill()
        await process.wait()


async def _findings(start: Start) -> Findings:
    async with start(USUAL) as server:
        extensions = await server.extensions()
    offered = [rule for rule in _comparable() if rule.extension is None or rule.extension in extensions]
    return {rule: await _finding(rule, start) for rule in offered}


def _comparable() -> list[Rule]:
    return [rule for rule in RULES if rule.source is not Source.PRODUCT]


async def _finding(rule: Rule, start: Start) -> str:
    """What a new server does with the rule."""
    try:
        async with asyncio.timeout(DEADLINE), start(rule.profile) as server:
            await rule.check(server)
    except AssertionError as broken:
        return str(broken)
    except Exception as error:  # noqa: BLE001 - whatever a server does to its client is a finding
        return f"{type(error).__name__}: {error}"
    return KEPT


def _table(ours: Findings, theirs: Findings) -> list[str]:
    """The lines of the report."""
    rules = _comparable()
    differing = [rule for rule in rules if not ours.get(rule) == theirs.get(rule) == KEPT]
    missing = Counter(rule.extension for rule in rules if rule not in theirs)
    return [
        f"{len(rules)} rules; both servers keep {len(rules) - len(differing)} of them.",
        f"{len(RULES) - len(rules)} more are in this product's own terms.",
        f"{PACKAGES[0]} does not offer {', '.join(f'{name} ({count} rules)' for name, count in missing.items())}.",
        "",
        f"| Section | Rule | Made by | this server | {PACKAGES[0]} |",
        "|---|---|---|---|---|",
        *(_row(rule, ours, theirs) for rule in differing if rule in theirs or ours.get(rule) != KEPT),
    ]


def _row(rule: Rule, *findings: Findings) -> str:
    source = "tus" if rule.source is Source.SPECIFICATION else "us"
    cells = (rule.section, rule.name, source, *(found.get(rule, "not offered") for found in findings))
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


if __name__ == "__main__":
    asyncio.run(main())
