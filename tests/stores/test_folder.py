"""The data folder: its layout and modes, whose it is, and who is kept out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from maie_aiohttp.errors import StorageFailed
from maie_aiohttp.stores.folder import DataFolder
from tests.layers import as_root, content, disk_store, pieces, unconcerned

ID = UUID("abcdef00-0000-4000-8000-000000000001")
MARK = f"incoming/{ID}.part"
PUBLISHED = f"audio/ab/{ID}.wav"


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """What the server may have been started with."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def below(root: Path) -> set[str]:
    """Every folder there."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()}


def refusal(root: Path) -> str:
    """Why the folder cannot be used."""
    with pytest.raises(StorageFailed) as raised, disk_store(root):
        pass
    return str(raised.value)


async def test_layout_and_modes_whatever_the_umask(root: Path, umask: int) -> None:
    with disk_store(root) as store:
        await store.begin(MARK)
        assert mode(root / MARK) == 0o600
        await store.append(MARK, 0, pieces(b"hello"), unconcerned)
        assert mode(root / MARK) == 0o440
        await store.publish(MARK, ID, ".wav")
        assert mode(root / PUBLISHED) == 0o440
    folders = below(root)
    shards = {f"audio/{number:02x}" for number in range(256)}
    assert folders == {"incoming", "audio", "orphans"} | shards
    assert {mode(root / folder) for folder in {".", *folders}} == {0o750}
    assert mode(root / "lock") == 0o600


def test_modes_that_somebody_changed_are_put_right(root: Path) -> None:
    with disk_store(root):
        pass
    for folder in (root / "audio", root / "audio/ab"):
        folder.chmod(0o777)
    with disk_store(root):
        assert {mode(folder) for folder in (root / "audio", root / "audio/ab")} == {0o750}


@pytest.mark.parametrize("given", [0o700, 0o755, 0o2770])
def test_a_data_folder_that_is_there_keeps_its_mode(root: Path, given: int) -> None:
    root.mkdir()
    root.chmod(given)
    with disk_store(root):
        assert mode(root) == given


@pytest.mark.parametrize("given", [0o777, 0o1777])
def test_a_data_folder_everybody_may_write_to_is_refused(root: Path, given: int) -> None:
    root.mkdir()
    root.chmod(given)
    assert refusal(root) == f"Every user may write to {root}; take that away with chmod o-w."
    assert mode(root) == given
    assert list(root.iterdir()) == []


def test_what_is_there_already_stays(root: Path) -> None:
    with disk_store(root):
        (root / PUBLISHED).write_bytes(b"hello")
        (root / "incoming/notes.txt").write_bytes(b"mine")
    with disk_store(root):
        assert (root / PUBLISHED).read_bytes() == b"hello"
        assert (root / "incoming/notes.txt").read_bytes() == b"mine"


def test_a_link_to_the_data_folder_is_as_good_as_the_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    root.symlink_to("disk")
    with disk_store(root) as store:
        assert store.path(MARK) == tmp_path / "disk" / MARK
    assert (tmp_path / "disk/incoming").is_dir()


@as_root
@pytest.mark.parametrize("foreign", [".", "audio", "audio/ab", "incoming"])
def test_folders_of_another_user_are_refused(root: Path, foreign: str) -> None:
    with disk_store(root):
        pass
    os.chown(root / foreign, 12345, -1)
    assert "belongs to another user" in refusal(root)


@pytest.mark.parametrize("planted", ["incoming", "audio", "orphans", "audio/ab"])
def test_a_link_in_place_of_a_folder_is_not_followed(root: Path, tmp_path: Path, planted: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (root / planted).parent.mkdir(parents=True)
    (root / planted).symlink_to(elsewhere)
    assert "is not a folder" in refusal(root)
    assert mode(elsewhere) == 0o700
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("planted", [".", "audio", "audio/00"])
def test_a_file_in_place_of_a_folder_is_refused(root: Path, planted: str) -> None:
    (root / planted).parent.mkdir(parents=True, exist_ok=True)
    (root / planted).write_bytes(b"mine")
    assert "is not a folder" in refusal(root)
    assert (root / planted).read_bytes() == b"mine"


def test_a_link_in_place_of_the_lock_is_not_followed(root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (root / "lock").symlink_to(tmp_path / "elsewhere")
    assert str(root) in refusal(root) or "lock" in refusal(root)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_below_a_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    assert refusal(tmp_path / "file" / "data") == f"{tmp_path / 'file' / 'data'}: Not a directory."


def test_a_second_server_is_locked_out_until_the_first_has_ended(root: Path) -> None:
    with disk_store(root):
        assert "Another server" in refusal(root)
        assert "Another server" in elsewhere(root)
    assert elsewhere(root) == "open\n"
    with disk_store(root):
        pass


def test_who_attaches_is_let_in_beside_a_server(root: Path) -> None:
    with disk_store(root):
        beside = DataFolder(root)
        beside.attach()
        assert os.path.samestat(os.fstat(beside.descriptor), root.stat())
        assert beside.locks_file == root / "locks"
        assert "Another server" in refusal(root)
        beside.close()
        beside.close()
    first = DataFolder(root)
    first.attach()
    with disk_store(root):
        first.close()
        assert "Another server" in refusal(root)


def test_who_attaches_makes_nothing(root: Path) -> None:
    folder = DataFolder(root)
    with pytest.raises(StorageFailed, match=str(root)):
        folder.attach()
    folder.close()
    assert not root.exists()


def test_who_attaches_wants_a_data_folder(root: Path) -> None:
    root.mkdir()
    folder = DataFolder(root)
    with pytest.raises(StorageFailed, match=str(root)):
        folder.attach()
    folder.close()
    assert list(root.iterdir()) == []


@contextmanager
def as_another_user(root: Path) -> Iterator[None]:
    """Without the rights that root has over files; where the tests have none, they are as good."""
    if os.geteuid() != 0:
        yield
        return
    for path in (root, *root.rglob("*")):
        os.chown(path, 12345, -1)
    os.seteuid(12345)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_what_was_taken_back_can_be_written_again(root: Path) -> None:
    with disk_store(root) as store:
        await store.append(MARK, 0, pieces(b"hello"), unconcerned)
        with as_another_user(root):
            await store.retract(MARK, await store.publish(MARK, ID, ".wav"))
            await store.append(MARK, 5, pieces(b"!"), unconcerned)
        assert await content(store, MARK) == b"hello!"


async def test_what_could_not_be_published_can_be_written_again(root: Path) -> None:
    with disk_store(root) as store:
        await store.append(MARK, 0, pieces(b"hello"), unconcerned)
        (root / PUBLISHED).write_bytes(b"secret")
        with as_another_user(root):
            with pytest.raises(StorageFailed):
                await store.publish(MARK, ID, ".wav")
            await store.append(MARK, 5, pieces(b"!"), unconcerned)
        assert await content(store, MARK) == b"hello!"
        assert (root / PUBLISHED).read_bytes() == b"secret"


def elsewhere(root: Path) -> str:
    """What another process gets."""
    program = (
        "import sys; from pathlib import Path; from maie_aiohttp.errors import StorageFailed\n"
        "from maie_aiohttp.stores.folder import DataFolder\n"
        "try: DataFolder(Path(sys.argv[1])).open(); print('open')\n"
        "except StorageFailed as error: print(error)\n"
    )
    return subprocess.run([sys.executable, "-c", program, root], capture_output=True, text=True, check=True).stdout


def test_closing_what_was_never_opened_is_no_error(root: Path) -> None:
    folder = DataFolder(root)
    folder.close()
    folder.open()
    folder.close()
    folder.close()


def plant_link(path: Path) -> None:
    (path.parent.parent / "victim").write_bytes(b"secret")
    path.symlink_to(path.parent.parent / "victim")


PLANTS: dict[str, Callable[[Path], None]] = {
    "link": plant_link,
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("plant", PLANTS)
async def test_nothing_planted_is_written_to(root: Path, plant: str) -> None:
    with disk_store(root) as store:
        PLANTS[plant](root / MARK)
        with pytest.raises(StorageFailed):
            await store.append(MARK, 0, pieces(b"hello"), unconcerned)
        if plant == "link":
            assert (root / "victim").read_bytes() == b"secret"


async def test_a_pipe_with_a_reader_is_not_written_to(root: Path) -> None:
    with disk_store(root) as store:
        os.mkfifo(root / MARK)
        reader = os.open(root / MARK, os.O_RDONLY | os.O_NONBLOCK)
        with pytest.raises(StorageFailed):
            await store.append(MARK, 0, pieces(b"hello"), unconcerned)
        assert os.read(reader, 10) == b""
        os.close(reader)


@pytest.mark.parametrize("plant", PLANTS)
async def test_nothing_planted_is_read(root: Path, plant: str) -> None:
    with disk_store(root) as store:
        PLANTS[plant](root / PUBLISHED)
        with pytest.raises(StorageFailed):
            _ = [piece async for piece in store.read(PUBLISHED, 0, 5)]


async def test_nothing_planted_is_published(root: Path) -> None:
    with disk_store(root) as store:
        plant_link(root / MARK)
        before = mode(root / "victim")
        with pytest.raises(StorageFailed):
            await store.publish(MARK, ID, ".wav")
        assert mode(root / "victim") == before
        assert not (root / PUBLISHED).is_symlink()
        assert not (root / PUBLISHED).exists()


async def test_nothing_planted_is_taken_back(root: Path) -> None:
    with disk_store(root) as store:
        (root / "victim").write_bytes(b"secret")
        (root / PUBLISHED).symlink_to(root / "victim")
        await store.retract(MARK, PUBLISHED)
        assert (root / "victim").stat().st_nlink == 1


async def test_nothing_planted_is_overwritten_by_publishing(root: Path) -> None:
    with disk_store(root) as store:
        (root / "victim").write_bytes(b"secret")
        (root / PUBLISHED).symlink_to(root / "victim")
        await store.append(MARK, 0, pieces(b"hello"), unconcerned)
        with pytest.raises(StorageFailed):
            await store.publish(MARK, ID, ".wav")
        assert (root / "victim").read_bytes() == b"secret"
        assert await content(store, MARK) == b"hello"
