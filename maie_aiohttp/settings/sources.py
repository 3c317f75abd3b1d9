"""Where values come from: the environment (`MAIE_<GROUP>__<KEY>`), else the file, else the default."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import InitSettingsSource, TomlConfigSettingsSource

from maie_aiohttp.settings.failures import ConfigurationError
from maie_aiohttp.settings.groups import Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_DEFAULT_FILE = Path("config.toml")
_VARIABLE = re.compile(r"MAIE_(?P<group>.*?)__(?P<key>.*)", re.IGNORECASE)


class _Environment(InitSettingsSource):
    """The variables `MAIE_<GROUP>__<KEY>`, known or not: an unknown one must fail, not be passed over. Names
    without `__` belong to others; Kubernetes sets `MAIE_PORT` beside a service called "maie"."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, ...], str] = {}
        groups: dict[str, Any] = {}
        for name, value in os.environ.items():
            if value and (match := _VARIABLE.fullmatch(name)):
                group, key = match["group"].lower(), match["key"].lower()
                self.names[group, key] = name
                groups.setdefault(group, {})[key] = value
        super().__init__(Settings, groups)


class _File(TomlConfigSettingsSource):
    """The tables of a TOML file, without their empty values."""

    def __call__(self) -> dict[str, Any]:
        return {
            group: {key: value for key, value in keys.items() if value != ""} if isinstance(keys, dict) else keys
            for group, keys in super().__call__().items()
        }


def load(path: Path | None = None) -> Settings:
    """The effective settings: the environment over the file at `path` over the defaults. Without `path` the
    file is `config.toml` in the working folder, if there is one. Raises ConfigurationError."""
    environment, file = _Environment(), _read(path)
    try:
        return Settings(environment, file)
    except ValidationError as invalid:
        source = path or _DEFAULT_FILE
        lines = (f"{_written(e['loc'], environment, source)}: {_explained(e)}" for e in invalid.errors())
        raise ConfigurationError(*lines) from None  # the original would show the values, passwords too


def _read(path: Path | None) -> _File:
    source = path or _DEFAULT_FILE
    try:
        if path and not path.is_file():  # which `_File` would pass over in silence
            raise ConfigurationError(f"{path}: no such file")
        return _File(Settings, source)
    except OSError as error:
        raise ConfigurationError(f"{source}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{source}: not valid TOML: byte {error.start} is not UTF-8") from error


def _written(loc: tuple[int | str, ...], environment: _Environment, source: Path) -> str:
    """The key at `loc` as its author wrote it; a whole group stands for all of its variables."""
    place = loc[:2]
    variables = [name for key, name in environment.names.items() if key[: len(place)] == place]
    return ", ".join(variables) or f"{'.'.join(map(str, place))} (from {source})"


def _explained(error: ErrorDetails) -> str:
    group, *key = (str(part) for part in error["loc"][:2])
    match error["type"]:
        case "extra_forbidden" if key:
            known = type(getattr(Settings(), group)).model_fields
            return f"unknown key; [{group}] has {', '.join(known)}"
        case "extra_forbidden":
            return f"unknown group; there are {', '.join(Settings.model_fields)}"
        case "model_type":
            return f"is a group; write its keys below a line [{group}]"
    return error["msg"].removeprefix("Value error, ").removeprefix("Input ")
