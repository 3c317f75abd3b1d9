"""What one worker may have of what the settings give to the whole server."""

from __future__ import annotations

from maie_aiohttp.settings import ConfigurationError, Settings

COUNTED = (
    "server.max_connections",
    "limits.max_uploads",
    "storage.write_threads",
    "storage.block_budget",
    "inspector.workers",
    "scan.connections",
)
"""The settings that mean all workers together. One that is not set means each by itself."""


def check(settings: Settings) -> None:
    """Raises `ConfigurationError` where there is not enough for every worker."""
    workers = settings.server.workers
    scarce = [key for key in COUNTED if _is_scarce(settings, key)]
    if scarce:
        keys = ", ".join(scarce)
        raise ConfigurationError(f"server.workers: {keys} cannot be divided among {workers}; raise it, or take fewer")


def share(settings: Settings, number: int) -> Settings:
    """The settings for one of the workers, which are counted from 0."""
    workers = settings.server.workers
    for key in COUNTED:
        if (value := _value(settings, key)) is not None:
            whole, rest = divmod(value, workers)
            settings = _with(settings, key, whole + (number < rest))
    return settings


def _is_scarce(settings: Settings, key: str) -> bool:
    value = _value(settings, key)
    return value is not None and value // settings.server.workers < _least(settings, key)


def _least(settings: Settings, key: str) -> int:
    match key:
        case "storage.block_budget":
            return settings.storage.block_size
        case "scan.connections":
            return int(settings.scan.clamd is not None)
    return 1


def _value(settings: Settings, key: str) -> int | None:
    group, name = key.split(".")
    value: int | None = getattr(getattr(settings, group), name)
    return value


def _with(settings: Settings, key: str, value: int) -> Settings:
    group, name = key.split(".")
    changed = getattr(settings, group).model_copy(update={name: value})
    return settings.model_copy(update={group: changed})
