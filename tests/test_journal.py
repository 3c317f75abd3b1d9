"""Logs: one line an event, whatever is in it."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from maie_aiohttp import journal

NASTY = 'a"b\r\n\x1b[31mred\x00.wav'


@pytest.fixture(autouse=True)
def restored() -> object:
    """Leave logging as pytest set it up."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.mark.parametrize("style", ["json", "console", "auto"])
def test_every_event_is_one_line(capsys: pytest.CaptureFixture[str], style: str) -> None:
    journal.configure(level="info", style=style)
    structlog.get_logger().info("upload stored", filename=NASTY)
    logging.getLogger("asyncio").warning("a library's %s", NASTY)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("\x1b" not in line and "\x00" not in line for line in lines)
    assert "upload stored" in lines[0]
    assert "a library's" in lines[1]


def test_json_can_be_parsed_back(capsys: pytest.CaptureFixture[str]) -> None:
    journal.configure(level="info", style="json")
    structlog.get_logger().warning("upload refused", filename=NASTY)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["filename"]) == ("upload refused", "warning", NASTY)


def test_level_hides_what_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    journal.configure(level="error", style="json")
    structlog.get_logger().warning("not seen")
    structlog.get_logger().error("seen")
    assert "not seen" not in capsys.readouterr().err


def test_exception_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    journal.configure(level="info", style="json")
    try:
        int(NASTY)
    except ValueError:
        structlog.get_logger().exception("request failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError" in json.loads(line)["exception"]
