"""Logs: one line an event, whatever is in it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import get_args

import pytest
import structlog

from maie_aiohttp import journal
from maie_aiohttp.settings import Log

NASTY = 'a"b\r\n\x1b[31mred\x00.wav'


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as pytest set it up."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.mark.parametrize("style", ["json", "console", "auto"])
def test_every_event_is_one_line(capsys: pytest.CaptureFixture[str], style: str) -> None:
    with journal.written(level="info", style=style):
        structlog.get_logger().info("upload stored", filename=NASTY)
        logging.getLogger("asyncio").warning("a library's %s", NASTY)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("\x1b" not in line and "\x00" not in line for line in lines)
    assert "upload stored" in lines[0]
    assert "a library's" in lines[1]


def test_json_can_be_parsed_back(capsys: pytest.CaptureFixture[str]) -> None:
    with journal.written(level="info", style="json"):
        structlog.get_logger().warning("upload refused", filename=NASTY)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["filename"]) == ("upload refused", "warning", NASTY)


def test_level_hides_what_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    with journal.written(level="error", style="json"):
        structlog.get_logger().warning("not seen")
        structlog.get_logger().error("seen")
    assert "not seen" not in capsys.readouterr().err


@pytest.mark.parametrize("level", get_args(Log.model_fields["level"].annotation))
def test_every_level_of_the_settings_is_one(capsys: pytest.CaptureFixture[str], level: str) -> None:
    with journal.written(level=level, style="json"):
        structlog.get_logger().critical("seen")
    assert json.loads(capsys.readouterr().err)["event"] == "seen"


def test_exception_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    with journal.written(level="info", style="json"):
        try:
            int(NASTY)
        except ValueError:
            structlog.get_logger().exception("request failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError" in json.loads(line)["exception"]


def test_a_library_that_repeats_itself_is_heard_once(capsys: pytest.CaptureFixture[str]) -> None:
    with journal.written(level="info", style="json"):
        for _ in range(100):
            logging.getLogger("asyncio").error("socket.accept() out of system resource")
        logging.getLogger("asyncio").error("something else")
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_full_disk_and_a_closed_stream_are_nobodys_trouble() -> None:
    full = open("/dev/full", "w")  # noqa: PTH123, SIM115 - a device, closed below as it would be by the system
    for _ in range(2):
        outlet = journal.Outlet(full)
        outlet.write("lost\n")
        outlet.close()
        with suppress(OSError):
            full.close()


def test_a_reader_that_hangs_makes_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LAST_WORDS", 0.01)
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as pipe:
        outlet = journal.Outlet(pipe)
        for _ in range(2 * journal.BACKLOG):
            outlet.write("x" * 100 + "\n")
        outlet.close()
        os.set_blocking(reading, False)
        while outlet._thread.is_alive():  # it holds the pipe's lock until all is read
            with suppress(BlockingIOError):
                os.read(reading, 1 << 20)
            outlet._thread.join(0.001)
