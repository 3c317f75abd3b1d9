"""Settings as text, to be read and to be loaded again."""

from __future__ import annotations

import json
from collections.abc import Mapping

from maie_aiohttp.settings.groups import Settings


def render(settings: Settings) -> str:
    """`settings` as TOML text that `load` reads back to the same values, but for the masked passwords."""
    groups = settings.model_dump(mode="json")
    return "\n".join(f"[{group}]\n{_assignments(keys)}" for group, keys in groups.items())


def _assignments(keys: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())


def _toml(value: object) -> str:
    """JSON's notation is TOML's for all the types in use, except that TOML escapes DEL (TOML 1.0, String)."""
    return json.dumps("" if value is None else value, ensure_ascii=False).replace("\x7f", r"\u007f")
