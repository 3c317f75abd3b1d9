"""libmagic, from the system where it has one, else from the pylibmagic wheel.

python-magic looks the library up when it is imported. The wheel makes that work by rewriting three environment
variables and `ctypes.CDLL.__init__` for the whole process and its children, where a system `file` then reads a database
of another version and fails. So all of it is put back at once, and every object is told where its database is.
"""

from __future__ import annotations

import ctypes
import os
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from maie_aiohttp.formats import NO_OPINION

# Formats inside formats, such as audio after ID3v2 tags. libmagic's own limit of 50 lets 64 KiB of empty tags take
# 11 ms.
_DEEPEST = 8

# libmagic's parsers in C, in which most of its published holes were: compressed files, tar, ELF, text, OLE, CSV,
# text encodings, JSON, SIMH tapes (magic.h, MAGIC_NO_CHECK_*; python-magic does not know all of these). What stays are
# its rules. No format of ours needs more.
_NO_PARSERS = 0x1000 | 0x2000 | 0x10000 | 0x20000 | 0x40000 | 0x80000 | 0x200000 | 0x400000 | 0x800000

_TOUCHED = ("LD_LIBRARY_PATH", "LIBRARY_PATH", "DYLD_LIBRARY_PATH", "MAGIC")


class _Library(NamedTuple):
    magic: ModuleType
    database: str | None
    origin: str


def _load() -> _Library:
    try:
        return _Library(import_module("magic"), None, "system")
    except ImportError:  # python-magic found no library
        return _load_wheel()


def _load_wheel() -> _Library:
    environment = {name: os.environ.get(name) for name in _TOUCHED}
    initialise = ctypes.CDLL.__init__
    try:
        wheel = import_module("pylibmagic")  # before python-magic: not statements, which a tool may sort
        magic = import_module("magic")
    finally:
        ctypes.CDLL.__init__ = initialise  # type: ignore[method-assign]  # pylibmagic replaced it
        for name, value in environment.items():
            _restore(name, value)
    return _Library(magic, str(wheel.data / "magic.mgc"), f"pylibmagic {wheel.__version__}")


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _open() -> Any:
    magic = _LIBRARY.magic
    opened = magic.Magic(mime=True, magic_file=_LIBRARY.database)
    magic.magic_setflags(opened.cookie, opened.flags | _NO_PARSERS)
    opened.setparam(magic.MAGIC_PARAM_INDIR_MAX, _DEEPEST)
    return opened


_LIBRARY = _load()
_MAGIC = _open()  # here, so that an unreadable database stops the start and not each upload
"""Shared, and locked by python-magic during a call: each further one would map its own 6 MB of rules."""


def media_type(head: bytes) -> str:
    """libmagic's MIME type for the first bytes of a file; `NO_OPINION` when it knows none or fails on them.

    So are plain text, where looking for its kind costs 330 ms on 64 KiB of newlines, and whatever else only a parser
    knows. Takes 0.1 to 0.3 ms, off the GIL; any thread may call it.
    """
    try:
        answer: str = _MAGIC.from_buffer(head)
    except _LIBRARY.magic.MagicException:
        return NO_OPINION
    return answer


def version() -> str:
    """The library and where it came from, for the log: `libmagic 5.44 (system)`."""
    major, minor = divmod(_LIBRARY.magic.version(), 100)
    return f"libmagic {major}.{minor:02} ({_LIBRARY.origin})"
