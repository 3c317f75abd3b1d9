"""All that the servers of a test run log, kept, and searched once the run is over: for secrets, and for events that are
not one line.

Servers within a test process log as they do in production, into this book besides what pytest shows of a test that
failed. Whoever starts one in a process of its own passes its lines on to `keep`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import structlog

from maie_aiohttp import journal
from maie_aiohttp.credentials import PREFIX

FOLDER = "TESTS_LOGBOOK"
"""Names the folder of the book to all processes of a run."""

SECRETS: Mapping[str, re.Pattern[str]] = {
    "an API key": re.compile(rf"\b{PREFIX}(?!aiohttp)[\w-]+"),
    "an upload token": re.compile(r"\bmaieup_[\w.-]+"),
    "what lets somebody in": re.compile(r"\b(?:Bearer|Basic) [\w.~+/=-]+", re.IGNORECASE),
    "a signed address": re.compile(r"[?&][\w-]*(?:key|token|secret|signature|sig)=[\w.~%+/-]+", re.IGNORECASE),
    "a password in an address": re.compile(r"://[^/\s:@]*:[^/\s@]+@"),
}
"""By what they are. All keys and tokens begin alike, those that tests make up as well."""

CONSOLE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S* \[\w+ *\] \S")
"""How a line for people begins."""

TO_THE_OPERATOR = re.compile(r"[a-z_]+(\.[a-z_]+)+: \S|The server cannot run: \S")
"""What a server that does not start says of its settings or its machine, instead of a log."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was logged at once."""

    test: str
    """That ran meanwhile."""
    text: str

    def complaints(self) -> Iterator[str]:
        """What is wrong with it. Secrets are not repeated."""
        for kind, pattern in SECRETS.items():
            if pattern.search(self.text):
                yield f"{self.test}: {kind} is in the log: {pattern.sub('…', self.text)[:200]!r}"
        if not self._is_one_event():
            yield f"{self.test}: not one line for one event: {self.text[:200]!r}"

    def _is_one_event(self) -> bool:
        line = self.text.removesuffix("\n")
        try:
            said = json.loads(line)
        except ValueError:
            return line.isprintable() and bool(CONSOLE.match(line) or TO_THE_OPERATOR.match(line))
        return line.isprintable() and isinstance(said, dict) and "event" in said


class Book:
    """What one process writes down of it; a text stream for its own log."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / str(os.getpid())).open("a", buffering=1)

    def write(self, text: str) -> None:
        """What a server in this process logs."""
        sys.stdout.write(text)
        self.keep(text)

    def flush(self) -> None:
        """Every line is there."""

    def keep(self, text: str) -> None:
        """Write it down, with the test that runs."""
        entry = Entry(os.environ.get("PYTEST_CURRENT_TEST", ""), text)
        self._file.write(json.dumps(asdict(entry)) + "\n")

    def close(self) -> None:
        """Nothing more is logged."""
        self._file.close()


class Logbook:
    """The plugin: opens the book before the tests, and searches it after them."""

    def __init__(self, config: pytest.Config) -> None:
        self._leads = not hasattr(config, "workerinput")
        if self._leads:
            os.environ[FOLDER] = tempfile.mkdtemp(prefix="logbook")
        self._folder = Path(os.environ[FOLDER])
        self._found: list[str] = []
        self.book = Book(self._folder)
        journal._configure(self.book, 0, [], journal._renderer("json", terminal=False))  # type: ignore[arg-type] # a stream
        for handler in logging.getLogger().handlers:
            handler.filters.clear()  # what a library repeats may be something else each time
        self._configuration = structlog.get_config()

    def pytest_runtest_setup(self) -> None:
        """A test may have told logging something else."""
        structlog.configure(**self._configuration)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Whoever leads reads what all have written."""
        if self._leads:
            self._found = sorted({line for entry in self._entries() for line in entry.complaints()})
            if self._found and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was found."""
        if self._found:
            terminalreporter.section("the log", red=True)
            for line in self._found:
                terminalreporter.line(line)

    def pytest_unconfigure(self) -> None:
        """It is read."""
        structlog.reset_defaults()
        self.book.close()
        if self._leads:
            shutil.rmtree(self._folder)

    def _entries(self) -> Iterator[Entry]:
        for page in self._folder.iterdir():
            for line in page.read_text().splitlines():
                yield Entry(**json.loads(line))


_logbook: Logbook | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Begin."""
    global _logbook  # noqa: PLW0603 - a process has one log
    _logbook = Logbook(config)
    config.pluginmanager.register(_logbook, "logbook")


def keep(line: str) -> None:
    """A line that a server in a process of its own has logged. Without a test run, nobody searches it."""
    if _logbook is not None:
        _logbook.book.keep(line)
