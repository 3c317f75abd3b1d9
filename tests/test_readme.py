"""The README's examples, run as they stand against a server on another port."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maie_aiohttp.settings import Settings
from tests import audio
from tests.conftest import Client

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```(sh|python|js)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = BLOCK.findall(README.read_text())
COMMANDS = {"sh": ["sh", "-e", "-c"], "python": [sys.executable, "-c"], "js": ["node", "--input-type=module", "-e"]}


@pytest.mark.parametrize(("language", "example"), EXAMPLES, ids=[language for language, _ in EXAMPLES])
async def test_example_stores_the_recording(client: Client, tmp_path: Path, language: str, example: str) -> None:
    command = COMMANDS[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    (tmp_path / "hearing.wav").write_bytes(audio.sample("wav").content)
    text = example.replace("http://127.0.0.1:8080", str(client.make_url("")).rstrip("/"))
    done = await asyncio.to_thread(
        subprocess.run, [*command, text], cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (upload,) = (await (await client.get("/v1/uploads")).json())["uploads"]
    assert upload["filename"] == "hearing.wav"
    assert upload["size"] == len(audio.sample("wav").content)


def test_there_are_examples_for_three_languages() -> None:
    assert {language for language, _ in EXAMPLES} == set(COMMANDS)


def test_every_setting_in_the_table_exists() -> None:
    table = README.read_text().partition("| Key | Default |")[2].partition("\n\n")[0]
    defaults = Settings()
    group = ""
    for name in re.findall(r"`([a-z_]*\.[a-z_]+)`", re.sub(r"\|[^|]*\|[^|]*\|$", "", table, flags=re.MULTILINE)):
        group = name.partition(".")[0] or group
        assert hasattr(getattr(defaults, group), name.partition(".")[2]), name
