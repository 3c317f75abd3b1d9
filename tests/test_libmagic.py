from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from maie_aiohttp.formats import NO_OPINION
from maie_aiohttp.inspection import libmagic
from tests.structure import headers

# A process whose loader finds no libmagic of the system, whatever there is.
WITHOUT_SYSTEM_LIBRARY = """
import ctypes, ctypes.util, json, os
find, load = ctypes.util.find_library, ctypes.CDLL.__init__

def find_other(name):
    return None if "magic" in name else find(name)

def load_other(self, name, *args, **kwargs):
    if name is not None and os.path.basename(name) == name and "magic" in name:
        raise OSError(name)
    load(self, name, *args, **kwargs)

ctypes.util.find_library, ctypes.CDLL.__init__ = find_other, load_other
before = dict(os.environ)
from maie_aiohttp.inspection import libmagic
from maie_aiohttp.formats import NO_OPINION
"""


def run(program: str, **environment: str) -> str:
    """What a Python program prints."""
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (headers.wav()[:65_536], "audio/x-wav"),
        (headers.flac(), "audio/flac"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0", "image/png"),
        (b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\x3e\0\1\0\0\0" + bytes(200), "application/x-executable"),
        (b"plain text, nothing else\n", NO_OPINION),
        (b'{"json": [1, 2, 3]}\n', NO_OPINION),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + bytes.fromhex("3e000300feff0900") + bytes(2000), NO_OPINION),
        (bytes(65_536), NO_OPINION),
        (headers.id3(b"") * 6000, NO_OPINION),
    ],
    ids=["wav", "flac", "png", "elf", "text", "json", "ole", "zeros", "tags in tags"],
)
def test_answers(head: bytes, expected: str) -> None:
    assert libmagic.media_type(head) == expected


def test_nothing_at_all_is_no_audio() -> None:
    assert not libmagic.media_type(b"").startswith("audio/")


def test_threads_get_the_same_answers() -> None:
    answers: list[str] = []

    def ask() -> None:
        answers.extend(libmagic.media_type(headers.flac()) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["audio/flac"] * 80


def test_the_version_names_the_library_and_where_it_is_from() -> None:
    assert libmagic.version().startswith("libmagic 5.")


def test_without_a_system_library_the_wheel_answers() -> None:
    program = WITHOUT_SYSTEM_LIBRARY + (
        "head = b'fLaC' + bytes.fromhex('00000022') + bytes(34)\n"
        "print(libmagic.version(), libmagic.media_type(head), libmagic.media_type(b'\\n' * 65536))"
    )
    version, answers = run(program).split(") ")
    assert "(pylibmagic" in version
    assert answers == f"audio/flac {NO_OPINION}"


def test_the_wheel_answers_in_every_thread() -> None:
    program = WITHOUT_SYSTEM_LIBRARY + (
        "import threading\n"
        "head = b'fLaC' + bytes.fromhex('00000022') + bytes(34)\n"
        "thread = threading.Thread(target=lambda: print(libmagic.media_type(head)))\n"
        "thread.start()\n"
        "thread.join()"
    )
    assert run(program) == "audio/flac"


@pytest.mark.parametrize("environment", [{}, {"LD_LIBRARY_PATH": "/nowhere", "MAGIC": "/nowhere/magic.mgc"}])
def test_the_wheel_leaves_the_process_as_it_was(environment: dict[str, str]) -> None:
    program = WITHOUT_SYSTEM_LIBRARY + "print(dict(os.environ) == before, ctypes.CDLL.__init__ is load_other)"
    assert run(program, **environment) == "True True"
