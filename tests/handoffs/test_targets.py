"""Which targets are built, and what is said when one cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from maie_aiohttp import assembly
from maie_aiohttp.handoffs.targets import TARGETS, build
from maie_aiohttp.settings import ConfigurationError, Settings, load, render
from tests.conftest import configure
from tests.handoffs.sides import SECRET

URL = "https://example.org/hooks"


def settings(*names: str, **groups: object) -> Settings:
    return Settings.model_validate({"handoff": {"targets": list(names)}, **groups})


def problem(*names: str, **groups: object) -> str:
    with pytest.raises(ConfigurationError) as raised:
        assembly.check(settings(*names, **groups))
    return str(raised.value)


async def test_all_of_them_are_built_in_the_order_given() -> None:
    chosen = settings(*TARGETS, webhook={"url": URL, "secrets": [SECRET]})
    assembly.check(chosen)
    built = build(chosen)
    assert [target.name for target in built] == list(TARGETS)
    for target in built:
        await target.close()


def test_none_at_all() -> None:
    assembly.check(settings())
    assert build(settings()) == []


def test_one_that_does_not_exist() -> None:
    assert problem("log", "carrier") == "handoff.targets: no such target: carrier; there are log, webhook, redis, rq"


@pytest.mark.parametrize("name", ["webhook", "redis", "rq"])
def test_one_whose_extra_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, str(TARGETS[name].needs), None)
    assert f"maie-aiohttp[{name}]" in problem(name, webhook={"url": URL, "secrets": [SECRET]})
    assert problem(name, webhook={"url": URL, "secrets": [SECRET]}).startswith("handoff.targets: ")


@pytest.mark.parametrize(
    ("webhook", "key"), [({}, "webhook.url"), ({"url": URL}, "webhook.secrets"), ({"secrets": [SECRET]}, "webhook.url")]
)
def test_one_without_what_it_needs(webhook: dict[str, object], key: str) -> None:
    assert problem("webhook", webhook=webhook).startswith(f"{key}: ")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[handoff]\ntargets = ["log", "log"]', "handoff.targets"),
        ("[handoff]\nconcurrency = 0", "handoff.concurrency"),
        ('[handoff]\nfirst_pause = "0 s"', "handoff.first_pause"),
        ('[webhook]\nurl = "ftp://example.org"', "webhook.url"),
        ('[webhook]\nurl = "https://user:secret@example.org/"', "webhook.url"),
        ('[webhook]\nurl = "https:///path"', "webhook.url"),
        ('[webhook]\nurl = "https://example.org:99999/"', "webhook.url"),
        ('[webhook]\nsecrets = ["whsec_short"]', "webhook.secrets"),
        ('[webhook]\nsecrets = ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]', "webhook.secrets"),
        ('[webhook]\nprivate_networks = ["10.0.0.0/99"]', "webhook.private_networks"),
        ('[redis]\nurl = "http://127.0.0.1"', "redis.url"),
        ('[rq]\nurl = "unix:///run/redis.sock"', "rq.url"),
        ('[rq]\nurl = "redis://:secret@/0"', "rq.url"),
        ('[rq]\nurl = "redis://127.0.0.1/first"', "rq.url"),
        ('[rq]\nurl = "redis://127.0.0.1:66666/0"', "rq.url"),
        ('[rq]\nfunction = "work"', "rq.function"),
        ('[rq]\nfunction = "src.worker; import os"', "rq.function"),
        ('[rq]\narguments = ["audio"]', "rq.arguments"),
        ('[rq]\nfeatures = ["transcript"]', "rq.features"),
        ('[rq]\nfeatures = ["summary"]', "rq"),
        ('[rq]\ntemplate_id = "../notes"', "rq.template_id"),
        ('[rq]\nasr_backend = "ears"', "rq.asr_backend"),
        ('[rq]\nlifetime = "0 s"', "rq.lifetime"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is_said(text: str, key: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        load(file)
    assert str(raised.value).startswith(key)
    assert "secret" not in str(raised.value).removeprefix(key)


def test_a_host_that_is_not_listed(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[webhook]\nurl = "{URL}"\nhosts = ["hooks.example.org"]')
    with pytest.raises(ConfigurationError, match=r"^webhook .*example\.org, which is not among hosts"):
        load(file)
    file.write_text(f'[webhook]\nurl = "{URL}"\nhosts = ["example.org"]')
    assert load(file).webhook.url == URL


def test_secrets_are_not_shown() -> None:
    hushed = "redis://user:hush@127.0.0.1/0"
    chosen = settings(webhook={"secrets": [SECRET]}, redis={"url": hushed}, rq={"url": hushed})
    for text in (render(chosen), repr(chosen)):
        assert SECRET not in text
        assert "hush" not in text


def test_a_server_has_the_log_for_a_target(tmp_path: Path) -> None:
    assert configure(tmp_path).handoff.targets == ("log",)
