"""Settings from the environment, the file and the defaults, and what is said when they are wrong."""

from __future__ import annotations

import os
import stat
import tomllib
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from maie_aiohttp.settings import (
    ConfigurationError,
    Inspector,
    Limits,
    Settings,
    Storage,
    load,
    prepare_folder,
    render,
)


@pytest.fixture(autouse=True)
def _clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith("MAIE_"):
            monkeypatch.delenv(name)


def write(text: str, name: str = "config.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value).splitlines() == list(caught.value.lines)
    return caught.value.lines


# Which source wins


def test_nothing_configured_gives_the_defaults() -> None:
    settings = load()
    assert settings == Settings()
    assert settings.limits.max_size == 500 * 2**20
    assert settings.server.drain_timeout == 30.0
    assert settings.storage.reserve_ratio == 0.05
    assert settings.catalog.url is None


def test_file_in_the_working_folder_is_read() -> None:
    write('[server]\nport = 0\n[limits]\nmax_size = "1.5 GiB"\nidle_timeout = "250ms"\n')
    settings = load()
    assert settings.server.port == 0
    assert settings.limits.max_size == 3 * 2**29
    assert settings.limits.idle_timeout == 0.25


def test_named_file_replaces_the_one_in_the_working_folder() -> None:
    write("[server]\nport = 1\n[inspector]\nworkers = 7\n")
    assert load(write("[server]\nport = 2\n", "other.toml")) == Settings(
        server=Settings().server.model_copy(update={"port": 2})
    )


def test_environment_wins_over_the_file_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[limits]\nmax_size = "1 MiB"\nmax_files = 3\n')
    monkeypatch.setenv("MAIE_LIMITS__MAX_SIZE", "1 GiB")
    monkeypatch.setenv("maie_limits__max_fields", "5")
    limits = load().limits
    assert (limits.max_size, limits.max_files, limits.max_fields) == (2**30, 3, 5)


def test_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[limits]\nmax_size = ""\nmax_files = 3\n[catalog]\nurl = ""\n')
    monkeypatch.setenv("MAIE_LIMITS__MAX_FILES", "")
    monkeypatch.setenv("MAIE_SERVER__HOST", "")
    settings = load()
    assert settings.limits == Limits().model_copy(update={"max_files": 3})
    assert settings.server.host == "127.0.0.1"
    assert settings.catalog.url is None


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIE_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("MAIE_LIMITS", "none")
    monkeypatch.setenv("OTHER_LIMITS__MAX_SIZE", "1")
    assert load() == Settings()


def test_building_settings_directly_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[server]\nport = 1\n")
    monkeypatch.setenv("MAIE_INSPECTOR__WORKERS", "7")
    settings = Settings(storage=Storage(folder=Path("elsewhere")))
    assert settings.server.port == 8080
    assert settings.inspector.workers == 2
    assert settings.storage.folder == Path("elsewhere")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().limits.max_files = 9


# Units


@pytest.mark.parametrize(
    ("written", "size"),
    [("0 B", 0), ("7B", 7), ("64 KiB", 65536), ("64kib", 65536), ("2 MB", 2_000_000), (" 1  TiB ", 2**40)],
)
def test_sizes(written: str, size: int) -> None:
    assert Limits.model_validate({"max_fields_size": written}).max_fields_size == size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("250ms", 0.25), ("30s", 30.0), ("5 min", 300.0), ("24h", 86400.0), ("1.5 s", 1.5)],
)
def test_durations(written: str, seconds: float) -> None:
    assert Limits.model_validate({"idle_timeout": written}).idle_timeout == seconds


@pytest.mark.parametrize(("written", "rate"), [("0 B/s", 0), ("500 B/s", 500), (" 1.5kib/s ", 1536)])
def test_rates(written: str, rate: int) -> None:
    limits = Limits.model_validate({"min_rate": written})
    assert limits.min_rate == rate
    assert Limits.model_validate(limits.model_dump(mode="json")) == limits


@pytest.mark.parametrize("written", ["500", "500 B", "500/s", "/s", "5 s", "-1 B/s"])
def test_rate_without_its_unit_is_refused(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIE_LIMITS__MIN_RATE", written)
    (line,) = problems()
    assert line.startswith("MAIE_LIMITS__MIN_RATE: give ")


@pytest.mark.parametrize(
    "written", ['"500"', "500", "5e8", "true", '"500 parsec"', '"MiB"', '"-1 MiB"', '"5 s"', '"\u0665 B"']
)
def test_size_without_its_unit_is_refused(written: str) -> None:
    write(f"[limits]\nmax_size = {written}\n")
    (line,) = problems()
    assert line.startswith('limits.max_size (from config.toml): give a unit, such as "500 MiB"')


@pytest.mark.parametrize("written", ["30", "30 minutes", "half an hour", "1 KiB", "1:30"])
def test_duration_without_its_unit_is_refused(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIE_INSPECTOR__TIMEOUT", written)
    (line,) = problems()
    assert line.startswith('MAIE_INSPECTOR__TIMEOUT: give a unit, such as "30 s"')


@given(st.integers(0, 10**15))
def test_every_size_is_shown_so_that_it_reads_back(size: int) -> None:
    shown = Inspector().model_copy(update={"memory": size + 1}).model_dump(mode="json")
    assert Inspector.model_validate(shown).memory == size + 1


@given(st.integers(1, 10**12), st.integers(0, 10_000))
def test_every_duration_and_ratio_is_shown_so_that_it_reads_back(milliseconds: int, ratio: int) -> None:
    timed = Inspector().model_copy(update={"timeout": milliseconds / 1000})
    assert Inspector.model_validate(timed.model_dump(mode="json")) == timed
    kept = Storage().model_copy(update={"reserve_ratio": ratio / 10_000})
    assert Storage.model_validate(kept.model_dump(mode="json")) == kept


@given(st.text() | st.from_regex(r"[0-9.]+ ?[kMGT]?i?[Bsh%]", fullmatch=True))
def test_any_text_is_a_quantity_or_refused(written: str) -> None:
    try:
        size = Limits.model_validate({"max_size": written}).max_size
    except ValidationError:
        return
    assert size > 0


# Mistakes


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[limits]\nmax_sise = 1\n",
            "limits.max_sise (from config.toml): unknown key; [limits] has max_size, ",
        ),
        ("[limit]\nmax_size = 1\n", "limit (from config.toml): unknown group; there are server, access, cors, "),
        ("[Limits]\n", "Limits (from config.toml): unknown group; "),
        ("limits = 3\n", "limits (from config.toml): is a group; write its keys below a line [limits]"),
        ('[server]\nport = "web"\n', "server.port (from config.toml): should be a valid integer"),
        ("[server]\nport = 65536\n", "server.port (from config.toml): should be less than or equal to 65535"),
        ("[server]\nport = -1\n", "server.port (from config.toml): should be greater than or equal to 0"),
        ("[server]\nhost = 5\n", "server.host (from config.toml): should be a valid string"),
        (
            "[storage]\nwrite_threads = true\n",
            "storage.write_threads (from config.toml): give a whole number",
        ),
        ("[inspector]\nworkers = 0\n", "inspector.workers (from config.toml): should be greater than 0"),
        ("[scan]\nconnections = 0\n", "scan.connections (from config.toml): should be greater than 0"),
        ('[scan]\ntimeout = "0 s"\n', "scan.timeout (from config.toml): should be greater than 0"),
        ('[scan]\nclamd = "localhost:3310"\n', "scan.clamd (from config.toml): give the address of a socket, such as "),
        ('[log]\nlevel = "loud"\n', "log.level (from config.toml): should be 'debug', 'info', "),
        ('[audio]\nextra_formats = ["d ts"]\n', "audio.extra_formats (from config.toml): "),
        ('[storage]\nreserve_ratio = "101 %"\n', "storage.reserve_ratio (from config.toml): should be less"),
        (
            "[storage]\nreserve_ratio = 0.05\n",
            'storage.reserve_ratio (from config.toml): give a unit, such as "5 %"',
        ),
        (
            '[limits]\nchunk_size = "2 KiB"\n',
            "limits.chunk_size (from config.toml): must be between 4 KiB and 4 MiB",
        ),
        (
            '[storage]\nblock_size = "25 MiB"\n',
            "storage (from config.toml): block_budget (24 MiB) must be at least block_size (25 MiB)",
        ),
        ('[storage]\nfolder = "a\\u0000b"\n', "storage.folder (from config.toml): must be printable text"),
        ('[catalog]\nurl = "maie:secret@host/db"\n', "catalog.url (from config.toml): give a URL, such as "),
        (
            '[server]\ntrusted_proxies = ["10.0.0.1/8"]\n',
            "server.trusted_proxies (from config.toml): give an address or a network, such as ",
        ),
        ("[server]\ntrusted_proxies = [true]\n", "server.trusted_proxies (from config.toml): give an address or a "),
        ('[server]\ntls_key = "key.pem"\n', "server (from config.toml): tls_key is of no use without tls_certificate"),
        ('[server]\ntls_certificate = "a\\u0000"\n', "server.tls_certificate (from config.toml): must be printable"),
        (
            '[server]\nunix_socket = "a.sock"\n',
            "server.unix_socket (from config.toml): give a path of at most 103 bytes",
        ),
        (f'[server]\nunix_socket = "/{"a" * 103}"\n', "server.unix_socket (from config.toml): give a path of at most"),
        ("[server]\nunix_socket_mode = 660\n", "server.unix_socket_mode (from config.toml): give the permissions as "),
        ('[server]\nunix_socket_mode = "0888"\n', "server.unix_socket_mode (from config.toml): give the permissions"),
        ('[server]\nunix_socket_mode = "4755"\n', "server.unix_socket_mode (from config.toml): give the permissions"),
        (
            '[access]\nhosts = ["audio.internal:80"]\n',
            "access.hosts (from config.toml): give the name of a host without",
        ),
        (
            '[access]\nhosts = ["http://audio"]\n',
            "access.hosts (from config.toml): give the name of a host without port",
        ),
        ('[access]\nhosts = [""]\n', "access.hosts (from config.toml): give the name of a host without port"),
        ('[cors]\nmax_age = "2 days"\n', "cors.max_age (from config.toml): give a unit, such as "),
        ('[resumable]\nlifetime = "0 h"\n', "resumable.lifetime (from config.toml): should be greater than 0"),
        ('[resumable]\nsweep_interval = "0 s"\n', "resumable.sweep_interval (from config.toml): should be greater"),
    ],
)
def test_mistake_in_the_file_names_the_key(text: str, line: str) -> None:
    write(text)
    (found,) = problems()
    assert found.startswith(line)
    assert "secret" not in found


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("MAIE_LIMITS__MAX_SISE", "unknown key; [limits] has max_size, "),
        ("MAIE_LIMITS__MAX_SIZE__X", "unknown key; "),
        ("MAIE_SERVR__PORT", "unknown group; there are server, "),
        ("maie_Server__Port", "should be a valid integer"),
        ("MAIE_STORAGE__BLOCK_BUDGET", "give a unit"),
    ],
)
def test_mistake_in_the_environment_names_the_variable(
    variable: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "x")
    (line,) = problems()
    assert line.startswith(f"{variable}: {reason}")


def test_folder_name_that_is_not_utf8_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIE_STORAGE__FOLDER", os.fsdecode(b"a\xffb"))
    assert problems() == ("MAIE_STORAGE__FOLDER: must be printable text",)


def test_every_mistake_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[limits]\nmax_size = 1\nidle_timeout = "0 s"\n', "my.toml")
    monkeypatch.setenv("MAIE_SERVER__PORT", "x")
    monkeypatch.setenv("MAIE_LIMITS__MAX_FILES", "0")
    assert [line.partition(":")[0] for line in problems(Path("my.toml"))] == [
        "MAIE_SERVER__PORT",
        "limits.max_size (from my.toml)",
        "MAIE_LIMITS__MAX_FILES",
        "limits.idle_timeout (from my.toml)",
    ]


def test_named_file_must_exist() -> None:
    assert problems(Path("missing.toml")) == ("missing.toml: no such file",)
    Path("folder.toml").mkdir()
    assert problems(Path("folder.toml")) == ("folder.toml: no such file",)


def test_unreadable_file_is_told() -> None:
    path = Path("x" * 300)  # longer than any file name may be
    assert problems(path) == (f"{path}: File name too long",)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            b"[server]\nport 8080\n",
            "config.toml: not valid TOML: Expected '=' after a key in a key/value pair (at line 2",
        ),
        (b'[server]\nhost = "\xff"\n', "config.toml: not valid TOML: byte 17 is not UTF-8"),
    ],
)
def test_broken_file_names_the_place(content: bytes, line: str) -> None:
    Path("config.toml").write_bytes(content)
    (found,) = problems()
    assert found.startswith(line)


# Lists and choices


def test_formats_as_list_and_in_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[audio]\nextra_formats = ["dts", "ape"]\n')
    assert load().audio.extra_formats == ("dts", "ape")
    monkeypatch.setenv("MAIE_AUDIO__EXTRA_FORMATS", "ac3, tta")
    assert load().audio.extra_formats == ("ac3", "tta")


def test_log_level_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIE_LOG__LEVEL", "WARNING")
    assert load().log.level == "warning"


def test_proxies_and_origins_in_one_variable_each(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[server]\ntrusted_proxies = ["::1", "10.0.0.0/8"]\n[cors]\norigins = "*"\n')
    assert load().server.trusted_proxies == (ip_network("::1/128"), ip_network("10.0.0.0/8"))
    assert load().cors.origins == ("*",)
    monkeypatch.setenv("MAIE_SERVER__TRUSTED_PROXIES", "127.0.0.1, fd00::/8")
    monkeypatch.setenv("MAIE_CORS__ORIGINS", "https://a.example, http://localhost:3000")
    assert load().server.trusted_proxies == (ip_network("127.0.0.1/32"), ip_network("fd00::/8"))
    assert load().cors.origins == ("https://a.example", "http://localhost:3000")


# Addresses


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("https://audio.example.org", "https://audio.example.org"),
        ("https://audio.example.org/", "https://audio.example.org"),
        ("HTTPS://Audio.example.org:443/Audio/v2/", "https://audio.example.org/Audio/v2"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        ("http://maie_web:80", "http://maie_web"),
    ],
)
def test_public_url(written: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIE_SERVER__PUBLIC_URL", written)
    assert load().server.public_url == address


@pytest.mark.parametrize(
    "written",
    [
        "audio.example.org",
        "/audio",
        "//example.org",
        "ftp://example.org",
        "https://",
        "https:///audio",
        "https://example.org?x=1",
        "https://example.org/#top",
        "https://ada@example.org",
        "https://example.org//audio",
        "https://example.org/a/../b",
        "https://example.org:65536",
        "https://[:::]",
        "https://tonträger.example",
    ],
)
def test_public_url_is_an_address_of_the_web(written: str) -> None:
    write(f'[server]\npublic_url = "{written}"\n')
    (line,) = problems()
    assert line.startswith("server.public_url (from config.toml): give a URL without query, such as ")


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.org",
        "http://localhost:3000",
        "http://[::1]:3000",
        "capacitor://localhost",
        "http://10.0.0.1",
    ],
)
def test_origins(origin: str) -> None:
    write(f'[cors]\norigins = ["{origin}"]\n')
    assert load().cors.origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    [
        "app.example.org",
        "https://app.example.org/",
        "https://app.example.org/app",
        "https://app.example.org:443",
        "https://App.example.org",
        "https://*.example.org",
        "https://",
        "null",
        "",
    ],
)
def test_origin_that_no_browser_would_send_is_refused(origin: str) -> None:
    write(f'[cors]\norigins = ["https://right.example", "{origin}"]\n')
    (line,) = problems()
    assert line.startswith("cors.origins (from config.toml): give an origin as browsers send it, such as ")


# The effective configuration


def test_rendered_settings_read_back() -> None:
    write(
        '[server]\nlinger = "1500ms"\npublic_url = "https://example.org/"\ntrusted_proxies = ["::1", "10.0.0.0/8"]\n'
        '[cors]\norigins = ["*"]\n[resumable]\nlifetime = "72 h"\n'
        '[storage]\nfolder = "Ton \\"ä\\\\"\nreserve_ratio = "0.25 %"\n'
        '[audio]\nextra_formats = ["dts"]\n[catalog]\nurl = "sqlite:///x\\u007f.sqlite"\n'
    )
    settings = load()
    assert load(write(render(settings), "rendered.toml")) == settings
    assert tomllib.loads(render(settings))["server"]["linger"] == "1500 ms"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+asyncpg://maie:hush@host:5432/db", "postgresql+asyncpg://maie:***@host:5432/db"),
        ("postgresql+asyncpg://maie:hu/s#h@hush@host/db", "postgresql+asyncpg://maie:***@host/db"),
        ("postgresql+asyncpg://:hush@host/db", "postgresql+asyncpg://:***@host/db"),
        (
            "postgresql+asyncpg://maie@host/db?x=1&password=hush&y=2",
            "postgresql+asyncpg://maie@host/db?x=1&password=***&y=2",
        ),
        ("sqlite:////srv/catalog.sqlite", "sqlite:////srv/catalog.sqlite"),
    ],
)
def test_passwords_are_masked(url: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIE_CATALOG__URL", url)
    settings = load()
    assert settings.catalog.url == url
    rendered = render(settings)
    assert tomllib.loads(rendered)["catalog"]["url"] == shown
    assert "hush" not in rendered + repr(settings)
    load(write(rendered))


# The data folder


def stored_in(folder: Path) -> Settings:
    return Settings(storage=Storage(folder=folder))


def test_data_folder_is_created_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    prepare_folder(stored_in(folder))
    prepare_folder(stored_in(folder))
    assert stat.S_IMODE(folder.stat().st_mode) & 0o027 == 0
    assert list(folder.iterdir()) == []


def test_relative_data_folder_starts_at_the_working_folder(tmp_path: Path) -> None:
    prepare_folder(Settings())
    assert (tmp_path / "data").is_dir()


@pytest.mark.parametrize("blocked", ["file", "file/below"])
def test_unusable_data_folder_is_told(blocked: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=rf"^storage\.folder: cannot write to .*{blocked}: "):
        prepare_folder(stored_in(tmp_path / blocked))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_data_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match=r"Permission denied$"):
        prepare_folder(stored_in(tmp_path))
    tmp_path.chmod(0o700)
