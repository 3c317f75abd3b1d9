"""The blocking side of everything but appending: names below the data folder are linked, listed and taken away here.

Publishing links the file to its final name and leaves the name below `incoming/` as a mark until the catalog has the
upload. So a crash between the two is found by looking at `incoming/` alone, however large the archive is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from threading import Lock
from typing import ParamSpec
from uuid import UUID

import structlog

from maie_aiohttp.errors import IntakeError, StorageFailed
from maie_aiohttp.stores import fsio
from maie_aiohttp.stores.failures import translated
from maie_aiohttp.stores.folder import PART_MODE, SHARDS, open_folder

Args = ParamSpec("Args")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Publication:
    """A durable file and the name it is to get; both relative to the data folder."""

    locator: str
    published: str

    @property
    def folder(self) -> str:
        """Where the new name stands, and must be made durable."""
        return os.path.dirname(self.published)


class Shelf:
    """Works on the data folder's descriptor `root`. Every method is one hop to a worker thread and raises OSError."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._folders: dict[str, int] = {}
        """Descriptors of the folders below: every upload is linked into one of them and flushes it."""
        self._opening = Lock()

    def close(self) -> None:
        """Give the descriptors back."""
        while self._folders:
            fsio.close(self._folders.popitem()[1])

    def publish(self, publications: Sequence[Publication]) -> Sequence[Exception | None]:
        """Give each file its final name, then make each folder durable once. Returns what went wrong, one by one;
        whatever went wrong, that file has no final name."""
        failures = {publication: _outcome(self._link, publication) for publication in publications}
        linked = [publication for publication, failure in failures.items() if failure is None]
        synced = {folder: _outcome(self._sync, folder) for folder in {one.folder for one in linked}}
        for publication in linked:
            if failure := synced[publication.folder]:
                failures[publication] = failure
                _outcome(self.discard, publication.published)
        return [failures[publication] for publication in publications]

    def retract(self, publication: Publication) -> None:
        """Undo `publish`, whether or not the mark is still there. Done twice, it is done once."""
        with suppress(FileExistsError, FileNotFoundError):
            self._link_name(publication.published, publication.locator)
            self._sync("incoming")
        self.discard(publication.published)
        self._sync(publication.folder)

    def take_back(self, locator: str) -> None:
        """Undo `publish`, wherever that went."""
        for published in self.published(_ids([PurePosixPath(locator).name])).values():
            self.retract(Publication(locator, published))

    def begin(self, locator: str) -> None:
        """Make an empty file with a durable name."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fsio.close(fsio.open(locator, flags, PART_MODE, dir_fd=self._root))
        self._sync("incoming")

    def discard_all(self, locators: Sequence[str]) -> Sequence[Exception | None]:
        """Take names away. Returns what went wrong, one by one."""
        return [_outcome(self.discard, locator) for locator in locators]

    def discard(self, locator: str) -> None:
        """Take a name away, if it is there."""
        with suppress(FileNotFoundError):
            fsio.unlink(locator, dir_fd=self._root)

    def size(self, locator: str) -> int | None:
        """Bytes, or None if there is no such file, but nothing or something else."""
        with suppress(FileNotFoundError):
            found = fsio.stat(locator, dir_fd=self._root, follow_symlinks=False)
            return found.st_size if stat.S_ISREG(found.st_mode) else None
        return None

    def unfinished(self) -> Sequence[UUID]:
        """The uploads with a name below `incoming/`; other files there are left alone."""
        return _ids(name for name in self._list("incoming") if name.endswith(".part"))

    def published(self, ids: Collection[UUID]) -> Mapping[UUID, str]:
        """The final names of those uploads that have one, whatever its extension. Each folder is listed once."""
        wanted = frozenset(ids)
        folders = {shard(id) for id in wanted}
        places = ((id_of(name), f"{folder}/{name}") for folder in folders for name in self._list(folder))
        return {id: place for id, place in places if id in wanted}

    def all_published(self, until: float) -> Iterator[tuple[UUID, str]]:
        """Every published file last changed before `until` (seconds since the epoch). A folder that cannot be listed
        is left out, and logged."""
        for folder in (f"audio/{prefix}" for prefix in SHARDS):
            try:
                yield from self._published_in(folder, until)
            except OSError as error:
                log.error("folder not listed", folder=folder, reason=error.strerror)  # noqa: TRY400 - says it all

    def quarantine(self, locator: str) -> None:
        """Move a file to `orphans/`, under the same name; unless it was deleted meanwhile. Raises FileExistsError where
        another one has that name already."""
        orphan = f"orphans/{PurePosixPath(locator).name}"
        with suppress(FileNotFoundError):
            if not self._are_same(locator, orphan):
                self._link_name(locator, orphan)
            self._sync("orphans")
            self.discard(locator)

    def write_probe(self) -> None:
        """Find out whether the disk takes bytes, by giving it some."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = fsio.open("incoming/probe", flags, PART_MODE, dir_fd=self._root)
        try:
            fsio.write(descriptor, bytes(4096))
            fsio.fdatasync(descriptor)
        finally:
            fsio.close(descriptor)
            self.discard("incoming/probe")

    def _link(self, publication: Publication) -> None:
        if not stat.S_ISREG(fsio.stat(publication.locator, dir_fd=self._root, follow_symlinks=False).st_mode):
            raise StorageFailed("Something that is not a file stands where the upload should be.")
        self._link_name(publication.locator, publication.published)

    def _link_name(self, old: str, new: str) -> None:
        """Into the very folder that is flushed then, even if another one has been put in its place."""
        folder, name = os.path.split(new)
        fsio.link(old, name, src_dir_fd=self._root, dst_dir_fd=self._folder(folder), follow_symlinks=False)

    def _sync(self, folder: str) -> None:
        """Make the entries of a folder durable."""
        fsio.fsync(self._folder(folder))

    def _folder(self, name: str) -> int:
        with self._opening:
            if name not in self._folders:
                self._folders[name] = open_folder(name, self._root)
            return self._folders[name]

    def _published_in(self, folder: str, until: float) -> Iterator[tuple[UUID, str]]:
        for name in self._list(folder):
            id = id_of(name)
            if id is not None and self._changed(f"{folder}/{name}") < until:
                yield id, f"{folder}/{name}"

    def _are_same(self, locator: str, other: str) -> bool:
        """Whether two names stand for one file; that of a link is its own."""
        with suppress(FileNotFoundError):
            return os.path.samestat(*(fsio.lstat(name, dir_fd=self._root) for name in (locator, other)))
        return False

    def _list(self, folder: str) -> list[str]:
        """The names in a folder, by a descriptor of its own: two threads with one would share the place in the list."""
        descriptor = open_folder(folder, self._root)
        try:
            return fsio.listdir(descriptor)
        finally:
            fsio.close(descriptor)

    def _changed(self, locator: str) -> float:
        """When, in seconds since the epoch; what is no file, or none any more, never rests."""
        with suppress(FileNotFoundError):
            found = fsio.stat(locator, dir_fd=self._root, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                return found.st_ctime
        return float("inf")


def shard(id: UUID) -> str:
    """The folder of a published upload."""
    return f"audio/{id.hex[:2]}"


def _outcome(step: Callable[Args, None], *args: Args.args, **kwargs: Args.kwargs) -> Exception | None:
    try:
        with translated():
            step(*args, **kwargs)
    except IntakeError as error:
        return error
    return None


def _ids(names: Iterable[str]) -> Sequence[UUID]:
    """The UUIDs that files are named by; those that are not ours are left out."""
    return [id for name in names if (id := id_of(name)) is not None]


def id_of(name: str) -> UUID | None:
    """The UUID a file is named by, in its usual form; None for files that are not ours."""
    stem, _, extension = name.partition(".")
    with suppress(ValueError):
        id = UUID(stem)
        return id if str(id) == stem and "." not in extension else None
    return None
