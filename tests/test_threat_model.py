"""The threat model names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MODEL = (TESTS.parent / "docs" / "threat-model.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("file", "name"), re.findall(r"`([\w/]+\.py)::(\w+)`", MODEL))
def test_it_exists(file: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_requirement_stands_in_it() -> None:
    assert re.findall(r"^\| (R\d+) ", MODEL, re.MULTILINE) == [f"R{number}" for number in range(1, 18)]
