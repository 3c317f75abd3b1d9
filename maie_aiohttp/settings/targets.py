"""The groups that say who is told of stored uploads, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from maie_aiohttp.addresses import web_host
from maie_aiohttp.settings.group import Group
from maie_aiohttp.settings.values import (
    Argument,
    AsrBackend,
    Count,
    Feature,
    Function,
    Name,
    Network,
    RedisDatabase,
    RedisUrl,
    TemplateId,
    WebhookSecret,
    no_repetition,
    once_each,
    printable,
    split,
    webhook,
)
from maie_aiohttp.units import Duration


class Handoff(Group):
    """Who is told of stored uploads, and how often. That the targets exist is their registry's to say."""

    targets: Annotated[tuple[Name, ...], BeforeValidator(split), AfterValidator(no_repetition)] = ("log",)
    concurrency: Count = Field(default=8, gt=0)
    max_attempts: Count = Field(default=100, gt=0)
    first_pause: Duration = Field(default=1.0, gt=0)
    longest_pause: Duration = Field(default=900.0, gt=0)


class Webhook(Group):
    """Where the hand-off by HTTP goes."""

    url: Annotated[str, AfterValidator(webhook)] | None = None
    secrets: Annotated[tuple[WebhookSecret, ...], BeforeValidator(split)] = Field(default=(), repr=False)
    timeout: Duration = Field(default=10.0, gt=0)
    hosts: Annotated[tuple[str, ...], BeforeValidator(split)] = ()
    private_networks: Annotated[tuple[Network, ...], BeforeValidator(split)] = ()

    @model_validator(mode="after")
    def _host_is_listed(self) -> Webhook:
        host = web_host(self.url or "")
        if self.url and self.hosts and host not in self.hosts:
            raise ValueError(f"url leads to {host}, which is not among hosts")
        return self


class Redis(Group):
    """Where the hand-off to a stream goes."""

    url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", repr=False)
    stream: str = Field(default="maie:uploads", min_length=1)
    max_length: Count = 0
    timeout: Duration = Field(default=5.0, gt=0)


class Rq(Group):
    """Where MAIE's own workers get their jobs, and what these are."""

    url: RedisDatabase = Field(default="redis://127.0.0.1:6379/0", repr=False)
    queue: Annotated[str, StringConstraints(min_length=1)] = "default"
    results_db: Count = 1
    function: Function = "src.worker.pipeline.process_audio_task"
    arguments: Annotated[tuple[Argument, ...], BeforeValidator(split)] = get_args(Argument)
    folder: Annotated[Path, AfterValidator(printable)] | None = None
    job_timeout: Duration = Field(default=600.0, ge=1)
    lifetime: Duration = Field(default=604_800.0, ge=1)
    timeout: Duration = Field(default=5.0, gt=0)
    max_queue_depth: Count = Field(default=50, gt=0)
    features: Annotated[tuple[Feature, ...], BeforeValidator(split), AfterValidator(once_each)] = ("clean_transcript",)
    template_id: TemplateId | None = None
    asr_backend: AsrBackend = "whisper"

    @model_validator(mode="after")
    def _summary_has_its_template(self) -> Rq:
        if "summary" in self.features and self.template_id is None:
            raise ValueError("template_id must be set where features has summary")
        return self
