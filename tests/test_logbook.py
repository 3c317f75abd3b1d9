"""The search of the log finds what it is for: what a test logs on purpose fails the whole run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent

HEAD = """
import logging
import pytest
import structlog
from tests import logbook

log = structlog.get_logger()

def fail(text):
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
"""

LEAKS = {
    "key": ('log.info("upload stored", key="maie_secret")', "an API key is in the log"),
    "key_in_an_event": ('log.debug("maie_secret came")', "an API key is in the log"),
    "key_in_a_trace": ('fail("maie_secret")', "an API key is in the log"),
    "key_beside": ('logbook.keep(\'{"event": "a", "key": "maie_secret"}\')', "an API key is in the log"),
    "token": ('log.info("upload stored", by="maieup_secret")', "an upload token is in the log"),
    "header": (
        'logging.getLogger("aiohttp").error("Authorization: Bearer secret")',
        "what lets somebody in is in the log",
    ),
    "signed_address": ('log.info("sent", url="/x?a=1&token=secret")', "a signed address is in the log"),
    "password": ('log.error("lost", url="redis://:secret@host")', "a password in an address is in the log"),
    "forged_line": ('logbook.keep("forged: upload stored")', "not one line for one event"),
    "two_lines": ('logbook.keep(\'{"event": "a"}\\n{"event": "b"}\')', "not one line for one event"),
    "escape": ('logbook.keep(\'{"event": "a", "name": "\\x1b[31m"}\')', "not one line for one event"),
}

ORDINARY = """
    log.info("upload\\n stored", filename="a\\r\\nb", path="/v1/uploads?cursor=abc")
    logging.getLogger("asyncio").error("Task\\nfailed")
    logbook.keep("2026-11-26 17:52:40 [info     ] request refused                method=POST")
    logbook.keep('{"event": "ready", "url": "http://127.0.0.1:8080"}')
    logbook.keep("access.without_keys: there is no API key yet")
    logbook.keep("The server cannot run: Another server is using the data folder.")
"""


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tests: str, *options: str) -> pytest.RunResult:
    """A test run in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take ten times as long as the tests
    pytester.makepyfile(HEAD + tests)
    return pytester.runpytest_subprocess("-p", "tests.logbook", "-p", "no:cacheprovider", *options)


@pytest.mark.parametrize(
    "options", [(), ("-p", "xdist", "--numprocesses=2", "--dist=loadfile")], ids=["one", "several"]
)
def test_what_should_not_be_there_fails_the_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Whether one process runs the tests or several; and a secret is not told again."""
    result = run(
        pytester, monkeypatch, "".join(f"def test_{n}(): {leak}\n" for n, (leak, _) in LEAKS.items()), *options
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["passed"] == len(LEAKS)
    summary = result.stdout.str().partition(" the log ")[2]
    found = [re.findall(rf"::test_{name} \(call\): ([\w ]+): ", summary) for name in LEAKS]
    assert found == [[complaint] for _, complaint in LEAKS.values()]
    assert "secret" not in summary


def test_ordinary_lines_are_none_of_its_business(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(pytester, monkeypatch, f"def test_that_logs(): {ORDINARY}")
    assert result.ret == pytest.ExitCode.OK


def test_what_a_failed_test_logged_is_shown_with_it(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(pytester, monkeypatch, 'def test_that_fails(): log.info("this happened"); assert False')
    assert '"event": "this happened"' in result.stdout.str()
