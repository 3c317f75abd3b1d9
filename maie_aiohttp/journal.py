"""One readable line an event: for people on a terminal, JSON for machines elsewhere.

Whatever is in a file name or in a library's message, a line feed or an escape sequence, stays on its line.
"""

from __future__ import annotations

import logging
import sys

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(*, level: str, style: str) -> None:
    """Set up logging. `style` is `console`, `json`, or `auto`: console on a terminal, JSON otherwise."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _keep_to_one_line,
    ]
    structlog.configure(
        processors=[*shared, *_rendering(console=console)],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_library_logs(shared, console=console)


def _rendering(*, console: bool) -> list[structlog.typing.Processor]:
    if console:
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), repr_native_str=True)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _keep_to_one_line(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Renderers quote values, but print the event itself as it is; a library may have put anything into it."""
    text = str(event["event"])
    event["event"] = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)
    return event


def _adopt_library_logs(shared: list[structlog.typing.Processor], *, console: bool) -> None:
    """What libraries log through `logging`, from warnings on, looks the same."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(console=console)],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
