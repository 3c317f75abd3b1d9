"""The settings as small frozen groups: type, default and bounds of each key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from maie_aiohttp.limits.quota import LARGEST, LONGEST, MINUTE
from maie_aiohttp.settings.group import Group
from maie_aiohttp.settings.targets import Handoff, Redis, Rq, Webhook
from maie_aiohttp.settings.values import (
    Count,
    File,
    Host,
    Mode,
    Name,
    Network,
    Origin,
    PublicUrl,
    Url,
    WithoutKeys,
    hidden,
    lower,
    socket,
    socket_path,
    split,
)
from maie_aiohttp.units import GIB, KIB, MIB, SIZES, Duration, Rate, Ratio, Size, within


class Server(Group):
    """Listening and connections."""

    host: str = "127.0.0.1"
    port: Count = Field(default=8080, le=65535)
    unix_socket: Annotated[Path, AfterValidator(socket_path)] | None = None
    unix_socket_mode: Mode = 0o660
    public_url: PublicUrl | None = None
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(split)] = ()
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


class Access(Group):
    """Who may come in."""

    without_keys: Annotated[WithoutKeys, BeforeValidator(lower)] = "loopback"
    hosts: Annotated[tuple[Host, ...], BeforeValidator(split)] = ()


class Cors(Group):
    """Which pages of other origins may use the server."""

    origins: Annotated[tuple[Origin, ...], BeforeValidator(split)] = ()
    max_age: Duration = 7_200.0


class Limits(Group):
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


class Quota(Group):
    """What one owner may use. What is not set is not limited."""

    size: Annotated[Size, Field(gt=0, le=LARGEST)] | None = None
    files: Annotated[Count, Field(gt=0, le=LARGEST)] | None = None
    uploads: Annotated[Count, Field(gt=0, le=LARGEST)] | None = None
    window: Annotated[Duration, Field(ge=MINUTE.total_seconds(), le=LONGEST.total_seconds())] = 86_400.0


class Requests(Group):
    """How often one address may ask. Where `per_second` is 0, any number of times."""

    per_second: Count = 200
    burst: Annotated[Count, Field(gt=0)] = 2_000


class Tokens(Group):
    """Upload tokens. Without a `secret`, one is made in the data folder."""

    secret: Annotated[str, Field(min_length=32), PlainSerializer(hidden, when_used="json")] | None = Field(
        default=None, repr=False
    )
    longest: Duration = Field(default=86_400.0, gt=0)


class Resumable(Group):
    """Uploads that go on in another request."""

    lifetime: Duration = Field(default=86_400.0, gt=0)
    sweep_interval: Duration = Field(default=600.0, gt=0)


class Idempotency(Group):
    """Requests that are sent again with their `Idempotency-Key`."""

    lifetime: Duration = Field(default=86_400.0, gt=0)


class Uploads(Group):
    """What is stored twice."""

    duplicates: Annotated[Literal["report", "reuse"], BeforeValidator(lower)] = "report"


class Storage(Group):
    """Where the bytes go, and what writing them may take."""

    folder: File = Path("data")
    write_threads: Count = Field(default=4, gt=0)
    block_size: Size = Field(default=512 * KIB, gt=0)
    block_budget: Size = 24 * MIB
    reserve: Size = 1 * GIB
    reserve_ratio: Ratio = 0.05

    @model_validator(mode="after")
    def _budget_holds_a_block(self) -> Storage:
        if self.block_budget < self.block_size:
            budget, block = SIZES.text(self.block_budget), SIZES.text(self.block_size)
            raise ValueError(f"block_budget ({budget}) must be at least block_size ({block})")
        return self


class Scrub(Group):
    """Reading what is stored again, in search of damage. A `rate` of 0 reads nothing."""

    rate: Size = 10 * MIB
    interval: Duration = Field(default=604_800.0, gt=0)


class Catalog(Group):
    """Where the uploads are recorded. No `url` stands for an SQLite file in `storage.folder`."""

    url: Url | None = Field(default=None, repr=False)


class Audio(Group):
    """What counts as audio. That the names exist is the format table's to say."""

    extra_formats: Annotated[tuple[Name, ...], BeforeValidator(split)] = ()


class Inspector(Group):
    """The processes that look into a finished file."""

    workers: Count = Field(default=2, gt=0)
    timeout: Duration = Field(default=10.0, gt=0)
    memory: Size = Field(default=512 * MIB, gt=0)


class Facts(Group):
    """Finding out what a stored recording is, before it is handed off. No `workers`, no facts."""

    workers: Count = 1
    decode_time: Duration = 10.0
    timeout: Duration = Field(default=60.0, gt=0)


class Waveforms(Group):
    """Outlines of recordings, drawn when somebody asks for them."""

    timeout: Duration = Field(default=600.0, gt=0)


class Scan(Group):
    """Who looks for malware in a finished file. Without `clamd`, nobody."""

    clamd: Annotated[str, AfterValidator(socket)] | None = None
    timeout: Duration = Field(default=120.0, gt=0)
    connections: Count = Field(default=4, gt=0)


class Log(Group):
    """What is logged, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(lower)] = "info"
    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(lower)] = "auto"
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
