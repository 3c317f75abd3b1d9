"""The command line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from maie_aiohttp.command import main
from maie_aiohttp.settings import Settings, render
from maie_aiohttp.stores.folder import DataFolder


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command runs where there is nothing yet."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("MAIE_"):
            monkeypatch.delenv(name)


def test_check_config_prints_what_is_in_effect(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check-config"]) == 0
    assert capsys.readouterr().out == render(Settings())
    monkeypatch.setenv("MAIE_CATALOG__URL", "postgresql+asyncpg://maie:hush@db/maie")
    assert main(["check-config"]) == 0
    assert "hush" not in capsys.readouterr().out


def test_wrong_configuration_names_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text('[limits]\nmax_size = "500"\nmax_sise = "1 MiB"\n')
    assert main(["--config", "mine.toml"]) == 2
    complaint = capsys.readouterr().err
    assert "limits.max_size (from mine.toml)" in complaint
    assert "limits.max_sise (from mine.toml)" in complaint


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("MAIE_AUDIO__EXTRA_FORMATS", "mp3,ape", "audio.extra_formats"),
        ("MAIE_STORAGE__FOLDER", "/proc/nowhere", "storage.folder"),
        ("MAIE_SERVR__PORT", "1", "MAIE_SERVR__PORT"),
    ],
)
def test_start_fails_naming_the_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert main([]) == 2
    assert named in capsys.readouterr().err


def test_taken_port_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MAIE_SERVER__PORT", str(taken.getsockname()[1]))
        assert main([]) == 1
    assert "The server cannot run: " in capsys.readouterr().err


def test_second_server_on_a_folder_is_turned_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = DataFolder(tmp_path / "data")
    first.open()
    monkeypatch.setenv("MAIE_SERVER__PORT", "0")
    try:
        assert main([]) == 1
    finally:
        first.close()
    assert "Another server is using the data folder" in capsys.readouterr().err


def test_running_without_assertions_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-m", "maie_aiohttp"],
        env={**os.environ, "MAIE_SERVER__PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "python -O" in done.stderr
