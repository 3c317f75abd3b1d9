"""One readable line an event: for people on a terminal, JSON for machines elsewhere.

Whatever is in a file name or in a library's message, a line feed or an escape sequence, stays on its line. And whatever
becomes of the log, a full disk, a closed pipe, a reader that hangs, uploads do not notice: a thread of its own writes
it, and what cannot be written is dropped.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import structlog
from structlog.typing import EventDict, Processor

from maie_aiohttp.settings import ConfigurationError

BACKLOG = 10_000
"""Lines that wait for a slow reader; more are dropped."""

REPEAT_AFTER = 60.0
"""Seconds until the same line of a library's code is heard again."""

GATHERING = 0.05
"""Seconds in which lines gather after one was written."""

LAST_WORDS = 2.0
"""Seconds that the backlog may take at the end."""


AUDIT = "audit"
"""The event of lines that say who did what."""

_UNFILTERED = structlog.make_filtering_bound_logger(logging.NOTSET)


@contextmanager
def written(*, level: str, style: str, audit_file: Path | None = None) -> Iterator[None]:
    """Write a log to standard error meanwhile. `style` is `console`, `json`, or `auto`: console on a terminal, JSON
    otherwise. What is for the audit goes to `audit_file`, as JSON, if there is one. Raises `ConfigurationError` where
    that cannot be written."""
    terminal = sys.stderr.isatty()
    with ExitStack() as outlets:
        outlet = outlets.enter_context(closing(Outlet(sys.stderr)))
        diversion: list[Processor] = []
        if audit_file is not None:
            kept = outlets.enter_context(closing(AppendedFile(audit_file)))
            diversion = [_diverted(outlets.enter_context(closing(Outlet(kept))))]
        rendering = _renderer(style, terminal=terminal)
        _configure(outlet, logging.getLevelNamesMapping()[level.upper()], diversion, rendering)
        yield


def audit(action: str, **fields: object) -> None:
    """Write down that somebody did something, whatever the level of the log is."""
    structlog.wrap_logger(None, wrapper_class=_UNFILTERED).info(AUDIT, action=action, **fields)


class Stream(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Write it. Raises OSError and ValueError."""
        ...

    def flush(self) -> object:
        """Let nothing wait."""
        ...


class AppendedFile:
    """A file that several processes append to. It may be moved away, to begin a new one."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigurationError`."""
        self._path = path
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise ConfigurationError(f"log.audit_file: cannot write to {path}: {error.strerror}") from None

    def write(self, text: str) -> None:
        """In one call, so that lines of others do not get between. Where no new file can be begun, the one that was
        moved away gets it. Raises OSError."""
        if self._is_moved():
            with suppress(OSError):
                self._begin_anew()
        os.write(self._descriptor, text.encode())

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)

    def _begin_anew(self) -> None:
        before, self._descriptor = self._descriptor, self._open()
        os.close(before)

    def _is_moved(self) -> bool:
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True


class Outlet:
    """A text stream that never fails and never makes anybody wait."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._news = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Write it soon."""
        if len(self._lines) < BACKLOG:
            self._lines.append(text)
        if not self._news.is_set():
            self._news.set()

    def flush(self) -> None:
        """Nothing to do: the thread flushes every line."""

    def close(self) -> None:
        """Write what is left, if that can be done soon."""
        self._closed.set()
        self._news.set()
        self._thread.join(LAST_WORDS)

    def _write_all(self) -> None:
        """The first line at once, and those of the next moment together: woken for each, this thread would cost a busy
        server more than all of its lines."""
        while not self._closed.is_set():
            self._news.wait()
            self._news.clear()
            self._write_waiting()
            self._closed.wait(GATHERING)
        self._write_waiting()

    def _write_waiting(self) -> None:
        text = "".join(self._lines.popleft() for _ in range(len(self._lines)))
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(text)
            self._stream.flush()


def _renderer(style: str, *, terminal: bool) -> list[Processor]:
    if style == "console" or (style == "auto" and terminal):
        return [structlog.dev.ConsoleRenderer(colors=terminal, repr_native_str=True)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _diverted(outlet: Outlet) -> Processor:
    """Takes out of the log what is for the audit."""
    render = structlog.processors.JSONRenderer()

    def divert(logger: object, name: str, event: EventDict) -> EventDict:
        if event["event"] != AUDIT:
            return event
        outlet.write(f"{render(logger, name, event)!s}\n")
        raise structlog.DropEvent

    return divert


def _configure(outlet: Outlet, level: int, diversion: list[Processor], rendering: list[Processor]) -> None:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _keep_to_one_line,
    ]
    structlog.configure(
        processors=[*shared, *diversion, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(outlet),  # type: ignore[arg-type] # asks for write and flush only
    )
    handler = logging.StreamHandler(outlet)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    handler.addFilter(once_a_minute())
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def once_a_minute() -> Callable[[logging.LogRecord], bool]:
    """A filter for what libraries say again and again: out of descriptors, asyncio complains thousands of times a
    second."""
    said: dict[tuple[str, int], float] = {}

    def is_news(record: logging.LogRecord) -> bool:
        place = record.pathname, record.lineno
        if record.created - said.get(place, 0) < REPEAT_AFTER:
            return False
        said[place] = record.created
        return True

    return is_news


def _keep_to_one_line(_logger: object, _name: str, event: EventDict) -> EventDict:
    """Renderers quote values, but print the event itself as it is; a library may have put anything into it."""
    text = str(event["event"])
    if not text.isprintable():
        event["event"] = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)
    return event
