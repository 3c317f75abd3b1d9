"""What values there are, however they are written: types with their checks, which say what is wrong."""

from __future__ import annotations

import re
from base64 import b64decode
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints

from maie_aiohttp.addresses import (
    LONGEST_SOCKET,
    is_redis_database,
    is_web_url,
    origin,
    socket_address,
    web_address,
    web_host,
)


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):  # pydantic would read `true` as 1
        raise ValueError("give a whole number")  # noqa: TRY004 - pydantic reports ValueError, not TypeError
    return value


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def split(value: object) -> object:
    """A list, which the environment can only write as one text: names with commas between them."""
    return value.split(",") if isinstance(value, str) else value


def _has_scheme(url: str) -> str:
    if not re.match(r"[a-z][a-z0-9+]*://", url):
        raise ValueError('give a URL, such as "postgresql+asyncpg://user:password@host/database"')
    return url


def _public_url(url: str) -> str:
    address = web_address(url)
    if address is None:
        raise ValueError('give a URL without query, such as "https://audio.example.org" or "https://example.org/audio"')
    return address


def _origin(text: str) -> str:
    if text != "*" and origin(text) != text:
        raise ValueError('give an origin as browsers send it, such as "https://app.example.org", or "*"')
    return text


def _host(text: str) -> str:
    if web_host(origin(f"http://{text}") or "") != text:
        raise ValueError('give the name of a host without port, such as "audio.internal"')
    return text


def socket(text: str) -> str:
    if socket_address(text) is None:
        raise ValueError('give the address of a socket, such as "unix:/run/clamav/clamd.ctl" or "tcp://clamav:3310"')
    return text


def socket_path(path: Path) -> Path:
    if not str(path).isprintable() or socket_address(f"unix:{path}") is None:
        raise ValueError(f"give a path of at most {LONGEST_SOCKET} bytes that begins with a slash")
    return path


def _mode(text: object) -> int:
    if not isinstance(text, str) or not re.fullmatch("0?[0-7]{3}", text, re.ASCII):
        raise ValueError('give the permissions as octal digits, such as "0660"')
    return int(text, 8)


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(value).strip())
    except ValueError:
        raise ValueError('give an address or a network, such as "127.0.0.1" or "10.0.0.0/8"') from None


def printable(path: Path) -> Path:
    if not str(path).isprintable():  # control characters, NUL, and bytes that are not UTF-8
        raise ValueError("must be printable text")
    return path


def _masked(url: str) -> str:
    """`url` without its passwords. Greedy up to the last `@`: a password may hold any character unescaped."""
    url = re.sub(r"(?<=://)([^:@/]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&]\w*password=)[^&#]*", r"\1***", url, flags=re.IGNORECASE)


def no_repetition(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({*names}) < len(names):
        raise ValueError("give each name once")
    return names


def webhook(url: str) -> str:
    if not is_web_url(url):
        raise ValueError('give a URL without user and password, such as "https://example.org/hooks/audio"')
    return url


def _webhook_secret(secret: str) -> str:
    """As Standard Webhooks has it."""
    try:
        length = len(b64decode(secret.removeprefix("whsec_"), validate=True))
    except ValueError:
        length = 0
    if not (secret.startswith("whsec_") and 24 <= length <= 64):
        raise ValueError('give "whsec_" and the Base64 of 24 to 64 random bytes')
    return secret


def once_each(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Each value where it comes first."""
    return tuple(dict.fromkeys(values))


def _redis_database(url: str) -> str:
    if not is_redis_database(url):
        raise ValueError('give host, port and number of a database, such as "redis://127.0.0.1:6379/0"')
    return url


def _redis(url: str) -> str:
    if not re.match(r"(rediss?://|unix:///)", url):
        raise ValueError('give a URL, such as "redis://127.0.0.1:6379/0" or "unix:///run/redis/redis.sock"')
    return url


def hidden(_: str) -> str:
    return "***"


Count = Annotated[int, BeforeValidator(_no_truth_value), Field(ge=0)]
File = Annotated[Path, AfterValidator(printable)]
Host = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True), AfterValidator(_host)]
Mode = Annotated[int, BeforeValidator(_mode), PlainSerializer("{:04o}".format, when_used="json")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, pattern="^[a-z0-9]+$")]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Origin = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_origin)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
Url = Annotated[str, AfterValidator(_has_scheme), PlainSerializer(_masked, when_used="json")]
RedisUrl = Annotated[str, AfterValidator(_redis), PlainSerializer(_masked, when_used="json")]
RedisDatabase = Annotated[str, AfterValidator(_redis_database), PlainSerializer(_masked, when_used="json")]
WebhookSecret = Annotated[str, AfterValidator(_webhook_secret), PlainSerializer(lambda _: "***", when_used="json")]
WithoutKeys = Literal["loopback", "anybody", "nobody"]

AsrBackend = Literal["whisper", "chunkformer"]
"""What MAIE can transcribe with."""
Feature = Literal["raw_transcript", "clean_transcript", "summary", "enhancement_metrics"]
"""What MAIE can make of a recording."""
TemplateId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
"""The name of a summary's template; MAIE makes a file name of it."""
Argument = Literal[
    "task_id",
    "audio_path",
    "features",
    "template_id",
    "asr_backend",
    "enable_diarization",
    "enable_vad",
    "vad_threshold",
    "redis_host",
    "redis_port",
    "redis_db",
    "correlation_id",
]
"""What a job of MAIE's workers can be told."""
Function = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
