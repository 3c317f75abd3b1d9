"""The server's settings. What each key does, and when to change it, stands in `config.toml`; its type, default and
bounds stand in `groups`."""

from maie_aiohttp.settings.failures import ConfigurationError
from maie_aiohttp.settings.folder import prepare_folder
from maie_aiohttp.settings.groups import (
    Cors,
    Inspector,
    Limits,
    Log,
    Scan,
    Server,
    Settings,
    Storage,
    Tokens,
)
from maie_aiohttp.settings.rendering import render
from maie_aiohttp.settings.sources import load
from maie_aiohttp.settings.targets import Handoff, Redis, Rq, Webhook
from maie_aiohttp.settings.values import AsrBackend, Feature, Network, TemplateId, WithoutKeys, once_each

__all__ = [
    "AsrBackend",
    "ConfigurationError",
    "Cors",
    "Feature",
    "Handoff",
    "Inspector",
    "Limits",
    "Log",
    "Network",
    "Redis",
    "Rq",
    "Scan",
    "Server",
    "Settings",
    "Storage",
    "TemplateId",
    "Tokens",
    "Webhook",
    "WithoutKeys",
    "load",
    "once_each",
    "prepare_folder",
    "render",
]
