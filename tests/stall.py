"""How long abusive bodies keep the event loop from everything else: `python -m tests.stall`.

A task on the server's loop measures the longest gap between its wake-ups while another thread sends the body. The aim
is less than 50 ms. A measurement and no test: its figures depend on what else the machine does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from tests.conftest import configure, serving
from tests.wire import DEADLINE, END, FORM, NEXT, WAV, chunked, file, form, request, sized, text

ABOVE = "  above the aim"
AIM = 50.0
"""Milliseconds."""

MIB = 1024 * 1024
CHUNKED = "Transfer-Encoding: chunked"

Make = Callable[[], bytes]

BODIES: dict[str, Make] = {
    "nothing at all": lambda: request(line="GET /health HTTP/1.1"),
    "a good recording": lambda: sized(WAV),
    "10,000 text fields": lambda: form(file(), text("a", b"b") * 10_000),
    "10,000 files": lambda: form(file() * 9, file(b"") * 10_000),
    "10,000 file inputs left empty": lambda: form(file(b"", name="") * 10_000),
    "10,000 empty parts": lambda: form(NEXT * 10_000),
    "1,000,000 near-boundaries": lambda: form(file(WAV + b"\r\n--edg" * 1_000_000)),
    "6 MB preamble, lines": lambda: form(b"x\n" * 3_000_000, file()),
    "6 MB preamble, no line": lambda: form(b"x" * 6_000_000, file()),
    "6 MB epilogue, lines": lambda: form(file(), end=END + b"x\n" * 3_000_000),
    "6 MB epilogue, no line": lambda: form(file(), end=END + b"x" * 6_000_000),
    "6 MB in a part's header": lambda: form(NEXT + b"X: x\r\n" * 1_000_000),
    "6 MB of carriage returns": lambda: form(file(WAV + b"\r" * 6_000_000)),
    "6 MB in a text field": lambda: form(text("a", b"x" * 6_000_000), file()),
    "forms in forms": lambda: form(NEXT + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" * 10_000),
    "file name, 8 KB of semicolons": lambda: form(file(name=";" * 7_500)),
    "file name, 8 KB of backslashes": lambda: form(file(name="\\" * 7_500)),
    "file name, 8 KB of stars": lambda: form(file(name='"; ' + "* " * 3_700 + '="')),
    "digest field, 8 KB of members": lambda: form(file(WAV, "Repr-Digest: " + "a=:AAAA:, " * 700 + "a=:AAAA:")),
    "6 MB in chunks of one byte": lambda: request(CHUNKED, body=b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n"),
    "6 MB in chunks of one byte, a form": lambda: request(
        CHUNKED, FORM, body=b"".join(b"1\r\n%c\r\n" % byte for byte in file(WAV * 100) + END) + b"0\r\n\r\n"
    ),
    "30 MB of chunk extension": lambda: request(CHUNKED, body=b"1;" + b"x" * 30 * MIB + b"\r\nx\r\n0\r\n\r\n"),
    "30 MB, refused by its type": lambda: request(
        CHUNKED, "Content-Type: text/html", body=chunked([bytes(64 * 1024)] * 480)
    ),
    "30 MB, refused by its content": lambda: request(CHUNKED, body=chunked([bytes(64 * 1024)] * 480)),
    "1,000 requests at once": lambda: request(line="GET /nowhere HTTP/1.1") * 1_000,
}


async def main() -> int:
    """Print one line a body. Returns how many stalled the loop for longer than the aim."""
    above = 0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.stdout.write(f"{'body':36} {'MB':>5} {'status':>7} {'seconds':>8} {'stall, ms':>10}\n")
    with tempfile.TemporaryDirectory() as folder:
        async with serving(configure(Path(folder) / "data", server={"linger": "500 ms"})) as client:
            address = str(client.host), int(client.port or 0)
            for name, make in BODIES.items():
                line = await _measured(address, make())
                above += line.endswith(ABOVE)
                sys.stdout.write(f"{name:36} {line}\n")
                sys.stdout.flush()
    return above


async def _measured(address: tuple[str, int], body: bytes) -> str:
    watching = asyncio.create_task(_longest_gap())
    begun = time.perf_counter()
    status = await asyncio.to_thread(_status, address, body)
    seconds = time.perf_counter() - begun
    watching.cancel()
    stall = await watching
    return f"{len(body) / 1e6:5.1f} {status:>7} {seconds:8.2f} {stall:10.1f}{'' if stall < AIM else ABOVE}"


async def _longest_gap() -> float:
    """Milliseconds, until cancelled."""
    longest, last = 0.0, time.perf_counter()
    try:
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
    except asyncio.CancelledError:
        return longest * 1000


def _status(address: tuple[str, int], body: bytes) -> str:
    """Send everything, from a thread that leaves the loop alone, and read the answer's status."""
    with socket.create_connection(address, timeout=DEADLINE) as connection:
        with suppress(ConnectionError):
            connection.sendall(body)
        with suppress(ConnectionError):
            return connection.recv(4096).split(b" ")[1].decode()
    return "reset"


if __name__ == "__main__":
    sys.exit(bool(asyncio.run(main())))
