"""`python -m maie_aiohttp fsck`: real damage to real files and a real catalog, found and put right by the real command.

The numbers of the faults are those of the list of faults that this server is tested against.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog

from maie_aiohttp.command import main
from maie_aiohttp.model import Status
from tests import audio
from tests.conftest import Client, configure, files, send, serving
from tests.layers import flip, query

SAMPLES = ("wav-u8", "flac", "mp3")
CLEAN, FOUND, NOT_DONE = 0, 1, 2
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
WAV = audio.sample("wav-u8").content


class Archive:
    """A data folder that no server is using, with three recordings and an upload that has begun."""

    def __init__(self, folder: Path, stored: list[dict[str, Any]], begun: str) -> None:
        self.folder = folder
        self.stored = stored
        self.begun = begun
        self.catalog = folder / "catalog.sqlite"

    def file(self, number: int) -> Path:
        """Of a recording."""
        (found,) = (self.folder / "audio").rglob(f"{self.stored[number]['id']}.*")
        return found

    @property
    def part(self) -> Path:
        """Of the upload that has begun."""
        return self.folder / f"incoming/{self.begun}.part"

    def id(self, number: int) -> str:
        """Of a recording."""
        return str(self.stored[number]["id"])

    def change(self, sql: str) -> None:
        """Edit the catalog behind the server's back."""
        with closing(sqlite3.connect(self.catalog)) as connection, connection:
            connection.executescript(sql)

    def edit(self, id: str, values: str) -> None:
        """Edit the record of an upload."""
        self.change(f"UPDATE uploads SET {values} WHERE id = '{UUID(id).hex}'")  # noqa: S608 - of this test

    def status(self, number: int) -> str:
        """What the record of a recording says."""
        found = {row[0]: row[1] for row in query(self.catalog, "SELECT id, status FROM uploads")}
        return str(found[UUID(self.id(number)).hex])

    def contents(self) -> dict[str, bytes]:
        """Everything in the folder but what SQLite keeps beside its file."""
        paths = [path for path in self.folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}


@pytest.fixture
async def archive(folder: Path) -> Archive:
    async with serving(configure(folder)) as client:
        stored = [await send(client, audio.sample(name)) for name in SAMPLES]
        begun = await begin(client)
    return Archive(folder, stored, begun)


async def begin(client: Client) -> str:
    """The id of a new upload with 1,000 bytes."""
    async with client.post("/v1/uploads", headers={**TUS, "Upload-Length": str(len(WAV))}) as created:
        id = created.headers["Location"].rpartition("/")[2]
    headers = {**BYTES, "Upload-Offset": "0"}
    async with client.patch(f"/v1/uploads/{id}", data=WAV[:1000], headers=headers) as continued:
        assert continued.status == 204
    return id


def environment(folder: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAIE_")}
    root = str(Path(__file__).parents[1])
    return {**inherited, "MAIE_STORAGE__FOLDER": str(folder), "MAIE_STORAGE__RESERVE": "0 B", "PYTHONPATH": root}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "maie_aiohttp", *arguments]


class Outcome:
    """What the command said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        assert "Traceback" not in err, err
        self.status = status
        self.lines = out.splitlines()
        self.err = err

    @property
    def found(self) -> list[str]:
        """Every line but the last."""
        return self.lines[:-1]

    def only(self, kind: str, subject: str, text: str = "") -> None:
        """It found this, and nothing else."""
        assert len(self.found) == 1, self.lines
        assert re.match(rf"{kind} {re.escape(subject)}.*: .*{text}", self.found[0]), self.found
        assert self.status == (CLEAN if kind in ("leftover", "orphans") else FOUND)

    def nothing(self) -> None:
        """It found nothing."""
        assert (self.status, self.found) == (CLEAN, []), self.lines
        assert "0 findings, 0 notes, 0 repaired" in self.lines[-1]


async def command_alone(folder: Path, *arguments: str) -> Outcome:
    """Run a command in a process of its own, where there is no settings file."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        cwd=folder.parent,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())


async def run(folder: Path, *arguments: str) -> Outcome:
    """Run a command in this process, in which no server may run: the same, sooner."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        for name in os.environ.keys() - environment(folder).keys():
            patch.delenv(name)
        for name, value in environment(folder).items():
            patch.setenv(name, value)
        patch.chdir(folder.parent)
        try:
            status = await asyncio.to_thread(main, list(arguments))
        except SystemExit as ended:
            status = int(str(ended.code))
        return Outcome(status, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The command sets up a log of its own."""
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


async def check(archive: Archive, grace: str = "0 s") -> Outcome:
    """What is found, and that nothing is changed."""
    before = archive.contents()
    done = await run(archive.folder, "fsck", "--grace", grace)
    assert archive.contents() == before
    return done


async def repair(archive: Archive) -> Outcome:
    return await run(archive.folder, "fsck", "--repair")


def names(folder: Path) -> list[str]:
    """What stands there, whatever it is."""
    return os.listdir(folder)  # noqa: PTH208 - names only


async def test_nothing_is_found_where_nothing_is_wrong(archive: Archive) -> None:
    done = await check(archive)
    done.nothing()
    assert done.lines[-1].startswith("4 records, 3 files, ")
    (await repair(archive)).nothing()
    for arguments in ([], ["--repair", "--rate", "1 GB"]):
        (await command_alone(archive.folder, "fsck", *arguments)).nothing()
    archive.file(0).unlink()
    (await command_alone(archive.folder, "fsck")).only("damaged", archive.id(0))


def missing(file: Path) -> None:
    file.unlink()


def truncated(file: Path) -> None:
    file.chmod(0o600)
    os.truncate(file, file.stat().st_size - 1)
    file.chmod(0o440)


def longer(file: Path) -> None:
    file.chmod(0o600)
    with file.open("ab") as opened:
        opened.write(b"!")
    file.chmod(0o440)


def empty(file: Path) -> None:
    file.chmod(0o600)
    os.truncate(file, 0)
    file.chmod(0o440)


def flipped(file: Path) -> None:
    flip(file, file.stat().st_size // 2)


def flipped_at_the_end(file: Path) -> None:
    flip(file, file.stat().st_size - 1)


def a_link(file: Path) -> None:
    other = file.with_name("elsewhere")
    file.rename(other)
    file.symlink_to(other)


def a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE: list[Callable[[Path], None]] = [missing, truncated, longer, empty, flipped, flipped_at_the_end]
PLANTED: list[Callable[[Path], None]] = [a_link, a_fifo, a_folder]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_fault_53_a_changed_file_is_found_and_marked_damaged(
    archive: Archive, damage: Callable[[Path], None]
) -> None:
    damage(archive.file(1))
    left = archive.contents()
    (await check(archive)).only("damaged", archive.id(1))
    assert archive.status(1) == Status.STORED
    first = await repair(archive)
    first.only("damaged", archive.id(1), ".* - repaired$")
    assert [archive.status(number) for number in range(3)] == ["stored", "damaged", "stored"]
    second = await repair(archive)
    second.only("damaged", archive.id(1), ".* as its record says$")
    assert "1 finding, 0 notes, 0 repaired" in second.lines[-1]
    assert {name: content for name, content in archive.contents().items() if name in left} | {
        "catalog.sqlite": b""
    } == left | {"catalog.sqlite": b""}
    async with serving(configure(archive.folder)) as client, client.get(f"/v1/uploads/{archive.id(1)}/content") as got:
        assert got.status == 500
        assert (await got.json())["type"] == "urn:maie:problem:damaged"


@pytest.mark.parametrize("plant", PLANTED)
async def test_fault_56_what_stands_in_the_place_of_a_file_is_not_followed(
    archive: Archive, plant: Callable[[Path], None]
) -> None:
    plant(place := archive.file(1))
    done = await check(archive)
    assert done.status == FOUND
    assert {line.split()[0] for line in done.found} == {"damaged", "foreign"}
    await repair(archive)
    assert archive.status(1) == "damaged"
    assert place.name in names(place.parent)
    again = await repair(archive)
    assert "0 repaired" in again.lines[-1]


async def test_fault_53_a_file_that_comes_back_is_whole_again(archive: Archive) -> None:
    file = archive.file(0)
    file.rename(archive.folder / "elsewhere")
    await repair(archive)
    (archive.folder / "elsewhere").rename(file)
    (await check(archive)).only("whole", archive.id(0))
    (await repair(archive)).only("whole", archive.id(0), ".* - repaired")
    assert archive.status(0) == "stored"
    (await check(archive)).nothing()


async def test_fault_53_two_files_that_changed_places(archive: Archive) -> None:
    async with serving(configure(archive.folder)) as client:
        other = await send(client, audio.sample("wav-u8"))
    archive.stored.append({**other})
    first, second = archive.file(0), archive.file(3)
    flip(second, second.stat().st_size - 1)
    digest = hashlib.sha256(second.read_bytes()).hexdigest()
    archive.change(f"UPDATE uploads SET sha256 = '{digest}' WHERE id = '{UUID(other['id']).hex}'")  # noqa: S608 - of this test
    (await check(archive)).nothing()
    first.rename(archive.folder / "aside")
    second.rename(first)
    (archive.folder / "aside").rename(second)
    done = await check(archive)
    assert sorted(line.split()[1].rstrip(":") for line in done.found) == sorted([archive.id(0), other["id"]])
    assert all(line.startswith("damaged ") for line in done.found)


async def test_fault_54_a_row_without_a_file_and_a_file_without_a_row(archive: Archive) -> None:
    archive.file(0).unlink()
    strange = archive.folder / f"audio/ab/{UUID('ab' * 16)}.wav"
    strange.write_bytes(WAV)
    strange.chmod(0o440)
    young = await check(archive, grace="1 h")
    young.only("damaged", archive.id(0))
    done = await check(archive)
    assert [line.split()[0] for line in done.found] == ["damaged", "unknown"]
    done = await repair(archive)
    assert [line.endswith(" - repaired") for line in done.found] == [True, True, False]
    assert (archive.folder / "orphans" / strange.name).read_bytes() == WAV
    again = await repair(archive)
    assert [line.split()[0] for line in again.found] == ["damaged", "orphans"]
    assert "0 repaired" in again.lines[-1]


async def test_fault_54_an_orphan_takes_the_place_of_no_other(archive: Archive) -> None:
    strange = archive.folder / f"audio/ab/{UUID('ab' * 16)}.wav"
    strange.write_bytes(WAV)
    other = archive.folder / "orphans" / strange.name
    other.write_bytes(b"put aside before")
    done = await repair(archive)
    assert [line for line in done.found if line.startswith("unknown") and "not repaired" in line]
    assert (strange.read_bytes(), other.read_bytes()) == (WAV, b"put aside before")


async def test_fault_54_another_catalog_does_not_empty_the_archive(archive: Archive) -> None:
    for _ in range(11):
        id = uuid4()
        (archive.folder / f"audio/{id.hex[:2]}/{id}.wav").write_bytes(WAV)
    before = files(archive.folder)
    done = await repair(archive)
    assert "does not seem to belong" in done.found[-1]
    assert files(archive.folder) == before


async def test_fault_55_a_part_longer_than_its_row_is_cut_to_the_offset(archive: Archive) -> None:
    with archive.part.open("ab") as behind:
        behind.write(b"never acknowledged")
    (await check(archive)).only("leftover", archive.begun, "it has 18 bytes behind")
    (await repair(archive)).only("leftover", archive.begun, ".* - repaired")
    assert archive.part.read_bytes() == WAV[:1000]
    (await repair(archive)).nothing()


@pytest.mark.parametrize("size", [None, 0, 999])
async def test_fault_55_a_part_shorter_than_its_row_is_reported(archive: Archive, size: int | None) -> None:
    if size is None:
        archive.part.unlink()
    else:
        os.truncate(archive.part, size)
    for look in (check, repair, repair):
        (await look(archive)).only("part", archive.begun, f"it has {size or 0} of the 1000 bytes")


async def test_fault_56_what_this_server_did_not_put_there_is_left_alone(archive: Archive) -> None:
    id = UUID("cd" * 16)
    planted = ["incoming/notes.txt", f"incoming/{id}.part", f"audio/cd/{id}.wav", "audio/cd/notes.txt", "audio/zz"]
    (archive.folder / planted[0]).write_bytes(b"mine")
    (archive.folder / planted[1]).symlink_to("/etc/passwd")
    os.mkfifo(archive.folder / planted[2])
    (archive.folder / planted[3]).write_bytes(b"mine")
    (archive.folder / planted[4]).mkdir()
    for look in (check, repair, repair):
        done = await look(archive)
        assert sorted(line.split(":")[0] for line in done.found) == sorted(f"foreign {name}" for name in planted)
    assert all((archive.folder / name).name in names((archive.folder / name).parent) for name in planted)


async def test_names_cannot_write_to_the_terminal(archive: Archive) -> None:
    (archive.folder / "audio/ab/\x1b[2J\n0 findings").write_bytes(b"mine")
    (await check(archive)).only("foreign", r"audio/ab/\x1b[2J\n0 findings")


async def test_fault_57_modes_are_put_right(archive: Archive) -> None:
    archive.file(2).chmod(0o666)
    (archive.folder / "audio/ab").chmod(0o777)
    done = await check(archive)
    assert [line.split(":")[0] for line in done.found] == [
        "mode audio/ab",
        f"mode {archive.file(2).relative_to(archive.folder)}",
    ]
    await repair(archive)
    assert archive.file(2).stat().st_mode & 0o777 == 0o440
    (await repair(archive)).nothing()


@pytest.mark.parametrize(
    ("edit", "kinds", "marked"),
    [
        ("sha256 = 'ff'", {"record", "damaged"}, "damaged"),
        (f"sha256 = '{'ab' * 32}'", {"damaged"}, "damaged"),
        ("size = size + 1", {"record", "damaged"}, "damaged"),
        ("size = 'many'", {"record", "damaged"}, "damaged"),
        ('"offset" = 0', {"record"}, "stored"),
        ("format = 'flac', media_type = 'audio/flac'", {"record", "format"}, "stored"),
        ("format = 'midi'", {"record"}, "stored"),
        ("media_type = 'text/html'", {"record"}, "stored"),
        ("metadata = 'no JSON'", {"record"}, "stored"),
        ("metadata = '[1]'", {"record"}, "stored"),
        ("status = 'lost'", {"record"}, "lost"),
        ("created_at = 'yesterday'", {"record"}, "stored"),
        ("stored_at = 9e30", {"record"}, "stored"),
        ("terms = '{}'", {"record"}, "stored"),
        ("filename = x'00ff'", {"record"}, "stored"),
        ("expires_at = 1", {"record"}, "stored"),
    ],
)
async def test_fault_58_metadata_that_do_not_match_the_file(
    archive: Archive, edit: str, kinds: set[str], marked: str
) -> None:
    archive.edit(archive.id(0), edit)
    done = await check(archive)
    assert done.status == FOUND
    assert {line.split()[0] for line in done.found} == kinds
    assert all(archive.id(0) in line for line in done.found)
    await repair(archive)
    assert archive.status(0) == marked
    again = await repair(archive)
    assert (again.status, "0 repaired" in again.lines[-1]) == (FOUND, True)


async def test_fault_58_an_id_that_is_none(archive: Archive) -> None:
    archive.edit(archive.begun, "id = 'nobody'")
    done = await check(archive)
    assert [line.split()[0] for line in done.found] == ["leftover", "record"]


@pytest.mark.parametrize("locator", ["../../../../etc/passwd", "/etc/passwd", "lock", "audio/ab/nobody.wav", ""])
async def test_fault_58_a_locator_that_leads_elsewhere_is_not_followed(archive: Archive, locator: str) -> None:
    archive.edit(archive.id(0), f"locator = '{locator}'")
    done = await check(archive)
    assert [line for line in done.found if line.startswith(f"locator {archive.id(0)}: it names {locator}")]
    assert (await repair(archive)).status == FOUND
    assert archive.status(0) == "stored"
    (await repair(archive)).nothing()


async def test_fault_58_a_locator_of_a_file_that_is_not_what_it_was(archive: Archive) -> None:
    file = archive.file(0)
    flip(file, 100)
    archive.edit(archive.id(0), "locator = 'lock'")
    await repair(archive)
    assert archive.status(0) == "damaged"
    assert (archive.folder / "orphans" / file.name).exists()


RELAXED = """
    CREATE TABLE other (number INTEGER PRIMARY KEY, upload_id CHAR(32), event VARCHAR(32), created_at BIGINT);
    INSERT INTO other SELECT * FROM outbox; DROP TABLE outbox; ALTER TABLE other RENAME TO outbox;
"""


@pytest.mark.parametrize(
    ("edit", "findings"),
    [
        ("DELETE FROM outbox", 3),
        ("DELETE FROM outbox WHERE number = 1", 1),
        ("UPDATE outbox SET event = 'upload.lost'", 3),
        (RELAXED + "INSERT INTO outbox SELECT number + 10, upload_id, event, created_at FROM outbox", 3),  # noqa: S608
        (RELAXED + "INSERT INTO outbox VALUES (99, 'nobody', 'upload.stored', 1)", 1),  # noqa: S608
    ],
)
async def test_the_outbox_has_one_entry_for_each_recording(archive: Archive, edit: str, findings: int) -> None:
    before = query(archive.catalog, "SELECT upload_id, event FROM outbox ORDER BY upload_id")
    archive.change(edit)
    done = await check(archive)
    assert [line.split()[0] for line in done.found] == ["outbox"] * findings
    await repair(archive)
    assert query(archive.catalog, "SELECT upload_id, event FROM outbox ORDER BY upload_id") == before
    (await repair(archive)).nothing()


async def test_an_outline_of_an_upload_that_is_not_there(archive: Archive) -> None:
    archive.change("INSERT INTO waveforms (upload_id) SELECT id FROM uploads WHERE locator IS NOT NULL LIMIT 1")
    (await check(archive)).nothing()
    archive.change(f"INSERT INTO waveforms (upload_id) VALUES ('{UUID(int=7).hex}')")  # noqa: S608 - of this test
    (await check(archive)).only("leftover", str(UUID(int=7)))
    await repair(archive)
    (await repair(archive)).nothing()
    assert query(archive.catalog, "SELECT count(*) FROM waveforms") == [(1,)]


async def test_an_entry_for_an_upload_that_is_not_stored(archive: Archive) -> None:
    entry = f"('{UUID(archive.begun).hex}', 'upload.stored', 1)"
    archive.change("INSERT INTO outbox (upload_id, event, created_at) VALUES " + entry)  # noqa: S608 - of this test
    (await check(archive)).only("outbox", archive.begun)
    await repair(archive)
    (await check(archive)).nothing()


def header(content: bytearray) -> None:
    content[:4] = b"lite"


def all_of_it(content: bytearray) -> None:
    content[:] = b"no database" * 999


def nothing_left(content: bytearray) -> None:
    content.clear()


def schema(content: bytearray) -> None:
    content[100:4096] = bytes(3996)


def middle(content: bytearray) -> None:
    """Every page but the first."""
    for start in range(4096, len(content), 4096):
        content[start : start + 8] = b"\xff" * 8


@pytest.mark.parametrize("spoil", [header, all_of_it, schema, middle, nothing_left, None])
async def test_fault_42_a_damaged_catalog_is_made_anew_of_the_files(
    archive: Archive, spoil: Callable[[bytearray], None] | None
) -> None:
    before = {name: content for name, content in archive.contents().items() if name.startswith("audio/")}
    content = bytearray(archive.catalog.read_bytes())
    if spoil is None:
        archive.catalog.unlink()
    else:
        spoil(content)
        archive.catalog.write_bytes(content)
    done = await check(archive)
    assert done.status == FOUND
    assert {line.split()[0] for line in done.found} == {"catalog"}
    done = await repair(archive)
    assert done.status == FOUND
    assert {name: content for name, content in archive.contents().items() if name.startswith("audio/")} == before
    kept = [path.read_bytes() for path in archive.folder.glob("catalog.sqlite.damaged-*") if path.suffix[-1] == "Z"]
    assert kept == ([] if spoil is None else [bytes(content)])
    again = await repair(archive)
    assert again.status == CLEAN
    async with serving(configure(archive.folder)) as client:
        for number, sample in enumerate(SAMPLES):
            async with client.get(f"/v1/uploads/{archive.id(number)}/content") as got:
                assert await got.read() == audio.sample(sample).content
            async with client.get(f"/v1/uploads/{archive.id(number)}") as got:
                record = await got.json()
            expected = archive.stored[number]
            assert {key: record[key] for key in ("size", "sha256", "format", "media_type", "status")} == {
                key: expected[key] for key in ("size", "sha256", "format", "media_type", "status")
            }


async def test_fault_42_what_can_be_read_of_a_damaged_catalog_is_kept(archive: Archive) -> None:
    async with serving(configure(archive.folder)) as client:
        for _ in range(60):
            await send(client, audio.sample("wav-u8"), filename="many.wav")
    with closing(sqlite3.connect(archive.catalog)) as connection:
        pages = connection.execute("SELECT pageno FROM dbstat WHERE name = 'uploads' AND pagetype = 'leaf'").fetchall()
    content = bytearray(archive.catalog.read_bytes())
    start = (pages[len(pages) // 2][0] - 1) * 4096
    content[start : start + 4096] = bytes(4096)
    archive.catalog.write_bytes(content)
    await repair(archive)
    named = [row[0] for row in query(archive.catalog, "SELECT filename FROM uploads")]
    assert len(named) == 64
    assert 0 < named.count(None) < 30 < named.count("many.wav")
    (await check(archive)).nothing()


@pytest.mark.parametrize("spoil", [header, all_of_it, schema])
async def test_fault_42_the_server_refuses_to_start_and_names_the_command(
    archive: Archive, spoil: Callable[[bytearray], None]
) -> None:
    content = bytearray(archive.catalog.read_bytes())
    spoil(content)
    archive.catalog.write_bytes(content)
    done = await command_alone(archive.folder, "serve")
    assert done.status == 1
    assert "maie_aiohttp fsck --repair" in done.err


async def test_fault_59_repair_refuses_while_a_server_runs(folder: Path) -> None:
    async with serving(configure(folder)) as client:
        await send(client, audio.sample("flac"))
        done = await command_alone(folder, "fsck", "--repair")
        assert (done.status, done.lines) == (NOT_DONE, [])
        assert "Another server is using" in done.err
        (await command_alone(folder, "fsck", "--grace", "0 s")).nothing()


@pytest.mark.parametrize(
    "arguments",
    [("--rate", "fast"), ("--rate", "10"), ("--rate", "0 B"), ("--grace", "1 B"), ("--mend",), ("--grace",)],
)
async def test_wrong_arguments(archive: Archive, arguments: tuple[str, ...]) -> None:
    done = await run(archive.folder, "fsck", *arguments)
    assert (done.status, done.lines) == (NOT_DONE, [])
    assert "usage:" in done.err


async def test_where_there_is_no_folder(folder: Path) -> None:
    done = await run(folder, "fsck")
    assert (done.status, done.lines, str(folder) in done.err) == (NOT_DONE, [], True)
    assert names(folder.parent) == []


async def test_an_empty_folder_is_clean(folder: Path) -> None:
    async with serving(configure(folder)):
        pass
    (await run(folder, "fsck")).nothing()


async def test_a_catalog_of_another_version_is_not_read(archive: Archive) -> None:
    archive.change("UPDATE alembic_version SET version_num = '9999'")
    for arguments in (["fsck"], ["fsck", "--repair"]):
        done = await run(archive.folder, *arguments)
        assert (done.status, done.lines) == (NOT_DONE, [])


async def test_a_catalog_that_is_no_file_is_not_read(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys.modules[__name__],
        "environment",
        lambda _: {**os.environ, "MAIE_STORAGE__FOLDER": str(archive.folder), "MAIE_CATALOG__URL": "postgresql://h/d"},
    )
    done = await run(archive.folder, "fsck")
    assert (done.status, "SQLite" in done.err) == (NOT_DONE, True)


async def test_beside_a_server_that_is_busy_nothing_is_found(folder: Path) -> None:
    """Uploads of every kind, and deletions, while the command runs again and again without any grace but for what has
    no record yet."""
    done = asyncio.Event()

    async def upload_and_delete(client: Client) -> None:
        while not done.is_set():
            record = await send(client, audio.sample("flac"))
            async with client.delete(record["links"]["self"]) as deleted:
                assert deleted.status == 204

    async def in_pieces(client: Client) -> None:
        while not done.is_set():
            id = await begin(client)
            headers = {**BYTES, "Upload-Offset": "1000"}
            async with client.patch(f"/v1/uploads/{id}", data=slowly(WAV[1000:]), headers=headers) as continued:
                assert continued.status == 204

    async with serving(configure(folder)) as client:
        for _ in range(5):
            await send(client, audio.sample("wav-u8"))
        working = [asyncio.create_task(work(client)) for work in (upload_and_delete, in_pieces) for _ in range(3)]
        for _ in range(4):
            (await command_alone(folder, "fsck")).nothing()
        done.set()
        await asyncio.gather(*working)


async def slowly(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 4000):
        yield content[start : start + 4000]
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.7, 0.9, 1.1])
async def test_killed_in_the_middle_of_a_repair_and_run_again(archive: Archive, seconds: float) -> None:
    archive.file(0).unlink()
    strange = archive.folder / f"audio/ab/{UUID('ab' * 16)}.wav"
    strange.write_bytes(WAV)
    content = bytearray(archive.catalog.read_bytes())
    middle(content)
    archive.catalog.write_bytes(content)
    process = await asyncio.create_subprocess_exec(
        *command("fsck", "--repair", "--rate", "100 kB"),
        cwd=archive.folder.parent,
        env=environment(archive.folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    await asyncio.sleep(seconds)
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)
    await process.wait()
    await repair(archive)
    last = await repair(archive)
    assert (last.status, "0 repaired" in last.lines[-1]) == (CLEAN, True)
    left = {name.rpartition("/")[2] for name in files(archive.folder)}
    assert {archive.file(1).name, archive.file(2).name, strange.name, f"{archive.begun}.part"} <= left
