"""The server's settings as small frozen groups. What each key does, and when to change it, stands in
`config.toml`; here stand its type, its default and its bounds.

A value comes from the environment (`MAIE_<GROUP>__<KEY>`), else from the file, else from the default below.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from base64 import b64decode
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from maie_aiohttp.addresses import (
    LONGEST_SOCKET,
    is_redis_database,
    is_web_url,
    origin,
    socket_address,
    web_address,
    web_host,
)
from maie_aiohttp.limits.quota import LARGEST, LONGEST, MINUTE
from maie_aiohttp.units import GIB, KIB, MIB, SIZES, Duration, Rate, Ratio, Size, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

_DEFAULT_FILE = Path("config.toml")
_VARIABLE = re.compile(r"MAIE_(?P<group>.*?)__(?P<key>.*)", re.IGNORECASE)


class ConfigurationError(Exception):
    """The server cannot start as configured. `lines` holds one sentence per problem, each beginning with the
    name of the key as its author wrote it."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):  # pydantic would read `true` as 1
        raise ValueError("give a whole number")  # noqa: TRY004 - pydantic reports ValueError, not TypeError
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _split(value: object) -> object:
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


def _socket(text: str) -> str:
    if socket_address(text) is None:
        raise ValueError('give the address of a socket, such as "unix:/run/clamav/clamd.ctl" or "tcp://clamav:3310"')
    return text


def _socket_path(path: Path) -> Path:
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


def _printable(path: Path) -> Path:
    if not str(path).isprintable():  # control characters, NUL, and bytes that are not UTF-8
        raise ValueError("must be printable text")
    return path


def _masked(url: str) -> str:
    """`url` without its passwords. Greedy up to the last `@`: a password may hold any character unescaped."""
    url = re.sub(r"(?<=://)([^:@/]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&]\w*password=)[^&#]*", r"\1***", url, flags=re.IGNORECASE)


def _no_repetition(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({*names}) < len(names):
        raise ValueError("give each name once")
    return names


def _webhook(url: str) -> str:
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


def _hidden(_: str) -> str:
    return "***"


Count = Annotated[int, BeforeValidator(_no_truth_value), Field(ge=0)]
File = Annotated[Path, AfterValidator(_printable)]
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


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(_Group):
    """Listening and connections."""

    host: str = "127.0.0.1"
    port: Count = Field(default=8080, le=65535)
    unix_socket: Annotated[Path, AfterValidator(_socket_path)] | None = None
    unix_socket_mode: Mode = 0o660
    public_url: PublicUrl | None = None
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(_split)] = ()
    max_connections: Annotated[Count, Field(gt=0)] | None = None
    drain_timeout: Duration = 30.0
    header_timeout: Duration = Field(default=20.0, gt=0)
    keepalive_timeout: Duration = 20.0
    send_timeout: Duration = Field(default=60.0, gt=0)
    linger: Duration = 3.0
    workers: Count = Field(default=1, gt=0, le=64)
    tls_certificate: File | None = None
    tls_key: File | None = None
    hsts: Duration = 31_536_000.0

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> Server:
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key is of no use without tls_certificate")
        return self


class Access(_Group):
    """Who may come in."""

    without_keys: Annotated[WithoutKeys, BeforeValidator(_lower)] = "loopback"
    hosts: Annotated[tuple[Host, ...], BeforeValidator(_split)] = ()


class Cors(_Group):
    """Which pages of other origins may use the server."""

    origins: Annotated[tuple[Origin, ...], BeforeValidator(_split)] = ()
    max_age: Duration = 7_200.0


class Limits(_Group):
    """What one upload may take."""

    max_size: Size = Field(default=500 * MIB, gt=0)
    chunk_size: Annotated[Size, within(4 * KIB, 4 * MIB)] = 64 * KIB
    max_files: Count = Field(default=8, gt=0)
    max_fields: Count = 32
    max_fields_size: Size = 16 * KIB
    max_uploads: Count = Field(default=2_000, gt=0)
    idle_timeout: Duration = Field(default=30.0, gt=0)
    min_rate: Rate = 500
    rate_window: Duration = Field(default=60.0, gt=0)
    body_timeout: Duration = Field(default=3_600.0, gt=0)
    max_duration: Annotated[Duration, Field(gt=0)] | None = None


class Quota(_Group):
    """What one owner may use. What is not set is not limited."""

    size: Annotated[Size, Field(gt=0, le=LARGEST)] | None = None
    files: Annotated[Count, Field(gt=0, le=LARGEST)] | None = None
    uploads: Annotated[Count, Field(gt=0, le=LARGEST)] | None = None
    window: Annotated[Duration, Field(ge=MINUTE.total_seconds(), le=LONGEST.total_seconds())] = 86_400.0


class Requests(_Group):
    """How often one address may ask. Where `per_second` is 0, any number of times."""

    per_second: Count = 200
    burst: Annotated[Count, Field(gt=0)] = 2_000


class Tokens(_Group):
    """Upload tokens. Without a `secret`, one is made in the data folder."""

    secret: Annotated[str, Field(min_length=32), PlainSerializer(_hidden, when_used="json")] | None = Field(
        default=None, repr=False
    )
    longest: Duration = Field(default=86_400.0, gt=0)


class Resumable(_Group):
    """Uploads that go on in another request."""

    lifetime: Duration = Field(default=86_400.0, gt=0)
    sweep_interval: Duration = Field(default=600.0, gt=0)


class Idempotency(_Group):
    """Requests that are sent again with their `Idempotency-Key`."""

    lifetime: Duration = Field(default=86_400.0, gt=0)


class Uploads(_Group):
    """What is stored twice."""

    duplicates: Annotated[Literal["report", "reuse"], BeforeValidator(_lower)] = "report"


class Storage(_Group):
    """Where the bytes go, and what writing them may take."""

    folder: File = Path("data")
    write_threads: Count = Field(default=4, gt=0)
    block_size: Size = Field(default=512 * KIB, gt=0)
    block_budget: Size = 16 * MIB
    reserve: Size = 1 * GIB
    reserve_ratio: Ratio = 0.05

    @model_validator(mode="after")
    def _budget_holds_a_block(self) -> Storage:
        if self.block_budget < self.block_size:
            budget, block = SIZES.text(self.block_budget), SIZES.text(self.block_size)
            raise ValueError(f"block_budget ({budget}) must be at least block_size ({block})")
        return self


class Scrub(_Group):
    """Reading what is stored again, in search of damage. A `rate` of 0 reads nothing."""

    rate: Size = 10 * MIB
    interval: Duration = Field(default=604_800.0, gt=0)


class Catalog(_Group):
    """Where the uploads are recorded. No `url` stands for an SQLite file in `storage.folder`."""

    url: Url | None = Field(default=None, repr=False)


class Audio(_Group):
    """What counts as audio. That the names exist is the format table's to say."""

    extra_formats: Annotated[tuple[Name, ...], BeforeValidator(_split)] = ()


class Inspector(_Group):
    """The processes that look into a finished file."""

    workers: Count = Field(default=2, gt=0)
    timeout: Duration = Field(default=10.0, gt=0)
    memory: Size = Field(default=512 * MIB, gt=0)


class Facts(_Group):
    """Finding out what a stored recording is, before it is handed off. No `workers`, no facts."""

    workers: Count = 1
    decode_time: Duration = 10.0
    timeout: Duration = Field(default=60.0, gt=0)


class Waveforms(_Group):
    """Outlines of recordings, drawn when somebody asks for them."""

    timeout: Duration = Field(default=600.0, gt=0)


class Scan(_Group):
    """Who looks for malware in a finished file. Without `clamd`, nobody."""

    clamd: Annotated[str, AfterValidator(_socket)] | None = None
    timeout: Duration = Field(default=120.0, gt=0)
    connections: Count = Field(default=4, gt=0)


class Handoff(_Group):
    """Who is told of stored uploads, and how often. That the targets exist is their registry's to say."""

    targets: Annotated[tuple[Name, ...], BeforeValidator(_split), AfterValidator(_no_repetition)] = ("log",)
    concurrency: Count = Field(default=8, gt=0)
    max_attempts: Count = Field(default=100, gt=0)
    first_pause: Duration = Field(default=1.0, gt=0)
    longest_pause: Duration = Field(default=900.0, gt=0)


class Webhook(_Group):
    """Where the hand-off by HTTP goes."""

    url: Annotated[str, AfterValidator(_webhook)] | None = None
    secrets: Annotated[tuple[WebhookSecret, ...], BeforeValidator(_split)] = Field(default=(), repr=False)
    timeout: Duration = Field(default=10.0, gt=0)
    hosts: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    private_networks: Annotated[tuple[Network, ...], BeforeValidator(_split)] = ()

    @model_validator(mode="after")
    def _host_is_listed(self) -> Webhook:
        host = web_host(self.url or "")
        if self.url and self.hosts and host not in self.hosts:
            raise ValueError(f"url leads to {host}, which is not among hosts")
        return self


class Redis(_Group):
    """Where the hand-off to a stream goes."""

    url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", repr=False)
    stream: str = Field(default="maie:uploads", min_length=1)
    max_length: Count = 0
    timeout: Duration = Field(default=5.0, gt=0)


class Rq(_Group):
    """Where MAIE's own workers get their jobs, and what these are."""

    url: RedisDatabase = Field(default="redis://127.0.0.1:6379/0", repr=False)
    queue: Annotated[str, StringConstraints(min_length=1)] = "default"
    results_db: Count = 1
    function: Function = "src.worker.pipeline.process_audio_task"
    arguments: Annotated[tuple[Argument, ...], BeforeValidator(_split)] = get_args(Argument)
    folder: Annotated[Path, AfterValidator(_printable)] | None = None
    job_timeout: Duration = Field(default=600.0, ge=1)
    lifetime: Duration = Field(default=604_800.0, ge=1)
    timeout: Duration = Field(default=5.0, gt=0)
    max_queue_depth: Count = Field(default=50, gt=0)
    features: Annotated[tuple[Feature, ...], BeforeValidator(_split), AfterValidator(once_each)] = ("clean_transcript",)
    template_id: TemplateId | None = None
    asr_backend: AsrBackend = "whisper"

    @model_validator(mode="after")
    def _summary_has_its_template(self) -> Rq:
        if "summary" in self.features and self.template_id is None:
            raise ValueError("template_id must be set where features has summary")
        return self


class Log(_Group):
    """What is logged, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = "info"
    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = "auto"
    audit_file: File | None = None


class Settings(BaseSettings):
    """All groups. Built directly it reads nothing from outside; `load` hands it sources, first one wins."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", case_sensitive=True)

    server: Server = Server()
    access: Access = Access()
    cors: Cors = Cors()
    limits: Limits = Limits()
    quota: Quota = Quota()
    requests: Requests = Requests()
    tokens: Tokens = Tokens()
    resumable: Resumable = Resumable()
    idempotency: Idempotency = Idempotency()
    uploads: Uploads = Uploads()
    storage: Storage = Storage()
    scrub: Scrub = Scrub()
    catalog: Catalog = Catalog()
    audio: Audio = Audio()
    inspector: Inspector = Inspector()
    facts: Facts = Facts()
    waveforms: Waveforms = Waveforms()
    scan: Scan = Scan()
    handoff: Handoff = Handoff()
    webhook: Webhook = Webhook()
    redis: Redis = Redis()
    rq: Rq = Rq()
    log: Log = Log()

    def __init__(self, *sources: PydanticBaseSettingsSource, **groups: Any) -> None:
        given = InitSettingsSource(type(self), groups)
        super().__init__(_build_sources=((given, *sources), groups))


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


def render(settings: Settings) -> str:
    """`settings` as TOML text that `load` reads back to the same values, but for the masked passwords."""
    groups = settings.model_dump(mode="json")
    return "\n".join(f"[{group}]\n{_assignments(keys)}" for group, keys in groups.items())


def _assignments(keys: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())


def _toml(value: object) -> str:
    """JSON's notation is TOML's for all the types in use, except that TOML escapes DEL (TOML 1.0, String)."""
    return json.dumps("" if value is None else value, ensure_ascii=False).replace("\x7f", r"\u007f")


def prepare_folder(settings: Settings) -> None:
    """Create the data folder if it is missing, and prove it writable by creating a file in it.
    Raises ConfigurationError."""
    folder = settings.storage.folder
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
            pass
    except OSError as error:
        raise ConfigurationError(f"storage.folder: cannot write to {folder}: {error.strerror}") from error
