"""What stands in the data folder, ours or not. Nothing is opened but folders, and nothing is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from maie_aiohttp.stores import fsio
from maie_aiohttp.stores.folder import FOLDER_MODE, SHARDS
from maie_aiohttp.stores.shelf import id_of

FOLDERS = ("incoming", "audio", "orphans", *(f"audio/{shard}" for shard in SHARDS))

_OF_OURS = {"incoming": {"probe"}, "audio": {*SHARDS}}
"""What may stand there besides the files of uploads."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something with a name below the data folder."""

    place: str
    """Relative to the data folder."""
    id: UUID | None
    """Of the upload it is named by."""
    found: os.stat_result

    @property
    def is_file(self) -> bool:
        """Whether it is a regular one."""
        return stat.S_ISREG(self.found.st_mode)

    @property
    def mode(self) -> int:
        """Who may read and write it."""
        return stat.S_IMODE(self.found.st_mode)

    @property
    def changed(self) -> float:
        """When it was last written, linked or renamed; seconds since the epoch."""
        return self.found.st_ctime


def survey(folder: str, root: int) -> Iterator[Thing]:
    """Everything in a folder below the descriptor `root` that is not part of the layout. Raises OSError."""
    descriptor = fsio.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root)
    try:
        names = fsio.listdir(descriptor)
    finally:
        fsio.close(descriptor)
    for name in names:
        if name not in _OF_OURS.get(folder, ()) and (thing := look(f"{folder}/{name}", root)):
            yield thing


def look(place: str, root: int) -> Thing | None:
    """What stands there now. Raises OSError, except where there is nothing."""
    with suppress(FileNotFoundError):
        return Thing(place, id_of(os.path.basename(place)), fsio.lstat(place, dir_fd=root))
    return None


def wrong_folders(root: int) -> Iterator[tuple[str, str]]:
    """Those of the layout that are not as the server makes them, and why."""
    for folder in FOLDERS:
        thing = look(folder, root)
        if thing is None:
            yield folder, "is missing; the next start makes it"
        elif not stat.S_ISDIR(thing.found.st_mode):
            yield folder, "is not a folder"
        elif thing.found.st_uid != os.geteuid():
            yield folder, "belongs to another user"
        elif thing.mode != FOLDER_MODE:
            yield folder, f"has the mode {thing.mode:o} instead of {FOLDER_MODE:o}; the next start changes it"
