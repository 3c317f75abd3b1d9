"""Which targets there are. A new one is a file beside this one, and a line in `TARGETS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType

from maie_aiohttp.interfaces import Handoff
from maie_aiohttp.settings import ConfigurationError, Settings


@dataclass(frozen=True, slots=True)
class Target:
    """How one kind of hand-off comes about."""

    build: Callable[[Settings], Handoff]
    """Loads what it needs, which only some servers have."""
    needs: str | None = None
    """The package that its extra, which has the target's name, installs."""
    keys: Sequence[str] = ()
    """Settings without which there is nobody to hand anything to."""


def check(settings: Settings) -> None:
    """Raises `ConfigurationError` if a target that is wanted cannot be built."""
    for name in settings.handoff.targets:
        if name not in TARGETS:
            raise ConfigurationError(f"handoff.targets: no such target: {name}; there are {', '.join(TARGETS)}")
        target = TARGETS[name]
        if target.needs is not None and find_spec(target.needs) is None:
            raise ConfigurationError(
                f'handoff.targets: for {name}, install the extra: pip install "maie-aiohttp[{name}]"'
            )
        for key in target.keys:
            group, _, rest = key.partition(".")
            if not getattr(getattr(settings, group), rest):
                raise ConfigurationError(f"{key}: needed, as handoff.targets names {name}")


def build(settings: Settings) -> Sequence[Handoff]:
    """Those that are wanted, in the event loop that will use them."""
    return [TARGETS[name].build(settings) for name in settings.handoff.targets]


def _log(_: Settings) -> Handoff:
    from maie_aiohttp.handoffs.log import LogHandoff  # noqa: PLC0415 - as those below

    return LogHandoff()


def _webhook(settings: Settings) -> Handoff:
    from maie_aiohttp.handoffs.webhook import WebhookHandoff  # noqa: PLC0415 - needs an extra

    return WebhookHandoff(settings.webhook, settings.server.public_url or "")


def _redis(settings: Settings) -> Handoff:
    from maie_aiohttp.handoffs.redis import RedisHandoff  # noqa: PLC0415 - needs an extra

    return RedisHandoff(settings.redis, settings.server.public_url or "")


def _rq(settings: Settings) -> Handoff:
    from maie_aiohttp.handoffs.rq import RqHandoff  # noqa: PLC0415 - needs an extra

    return RqHandoff(settings.rq, settings.storage.folder.resolve())


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "log": Target(_log),
        "webhook": Target(_webhook, needs="standardwebhooks", keys=("webhook.url", "webhook.secrets")),
        "redis": Target(_redis, needs="redis", keys=("redis.url", "redis.stream")),
        "rq": Target(_rq, needs="rq", keys=("rq.url", "rq.arguments", "rq.features")),
    }
)
