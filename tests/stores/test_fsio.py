"""The one door to the file system: what injects faults there sees every call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

import maie_aiohttp
from maie_aiohttp.stores import fsio

PACKAGE = Path(maie_aiohttp.__file__).parent
MODULES = [
    *(path for path in sorted((PACKAGE / "stores").glob("*.py")) if path.name != "fsio.py"),
    PACKAGE / "fsck/mending.py",
]

HARMLESS = {"path", "stat_result", "geteuid"}
"""Of `os`, what reaches no file."""
REACHING = {name for name in vars(Path) if not name.startswith("_")} - set(vars(PurePath)) - {"resolve"}
"""Methods by which a path reaches the file system."""


def direct_calls(source: str) -> Iterator[str]:
    """Where a module reaches the file system past `fsio`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if not name.isupper() and name not in HARMLESS:
                yield f"line {node.lineno}: os.{name}"
            case ast.Attribute(value=ast.Name(id="fcntl"), attr=name) if not name.isupper():
                yield f"line {node.lineno}: fcntl.{name}"
            case ast.Call(func=ast.Name(id="open")):
                yield f"line {node.lineno}: open"
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in REACHING:
                if not (isinstance(value, ast.Name) and value.id == "fsio"):
                    yield f"line {node.lineno}: .{name}"
            case ast.ImportFrom(module="os" | "fcntl" | "shutil" | "maie_aiohttp.stores.fsio"):
                yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_nothing_reaches_the_file_system_past_it(module: Path) -> None:
    assert list(direct_calls(module.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "os.write(1, b'')",
        "fcntl.flock(1, 2)",
        "open('name')",
        "self.root.mkdir()",
        "(self.root / 'lock').stat()",
        "from os import write",
        "from maie_aiohttp.stores.fsio import write",
    ],
)
def test_a_call_past_it_is_found(source: str) -> None:
    assert len(list(direct_calls(source))) == 1


def test_it_holds_nothing_that_nobody_calls() -> None:
    sources = [path.read_text() for path in (*MODULES, *sorted((PACKAGE / "fsck").glob("*.py")))]
    functions = {name for name, value in vars(fsio).items() if callable(value)}
    assert {name for name in functions if not any(f"fsio.{name}(" in source for source in sources)} == set()
