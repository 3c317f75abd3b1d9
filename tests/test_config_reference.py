"""`config.toml` is the reference: each setting stands in it with its default and an explanation."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from maie_aiohttp.settings import Settings, load, render

REFERENCE = Path(__file__).parent.parent / "config.toml"
LINES = REFERENCE.read_text(encoding="utf-8").splitlines()


def test_running_with_the_reference_changes_nothing() -> None:
    assert load(REFERENCE) == Settings()


def test_reference_has_every_group_and_key_as_rendered_and_in_that_order() -> None:
    def written(text: str) -> list[str]:
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    reference = REFERENCE.read_text(encoding="utf-8")
    assert tomllib.loads(reference) == tomllib.loads(render(Settings()))
    assert written(reference) == written(render(Settings()))


@pytest.mark.parametrize(
    "number",
    [number for number, line in enumerate(LINES) if line.startswith("[") or " = " in line.partition("#")[0]],
)
def test_every_group_and_key_is_explained_where_it_stands(number: int) -> None:
    assert LINES[number - 1].startswith("# ")
