"""Two who want the same at the same time: writers, readers, deletions, sweeps and servers. Whoever wins, there is one
outcome, every byte is one that the winner sent, and nothing stays locked or lies about."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from asyncio import TaskGroup
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self, TypeVar

from aiohttp import ClientSession
from yarl import URL

from tests import audio
from tests.scenarios.client import UPLOADS, client, delete
from tests.scenarios.interruptions import IETF, PROTOCOLS, TUS, Protocol, Sending, create, differences
from tests.scenarios.process import KIB, Process, launch, serving
from tests.scenarios.recordings import Recording, mixed
from tests.scenarios.report import Report

LARGEST = 200 * KIB
"""Bytes that a writer brings at once."""
NO_TEXT = range(128, 256)
"""Bytes that no recording is taken for a text for."""
ENDLESS = 5_000_000_000
"""Bytes from which a header leaves the length open."""
HASTE = 0.008
"""Seconds by which one may be ahead of the other, at most."""

LIFETIME = 1.0
"""Seconds that an upload may rest."""
SWEEPING = {"resumable.lifetime": f"{LIFETIME:.0f} s", "resumable.sweep_interval": "50 ms"}
START = 0.6
"""Seconds that a process needs to start."""
MOMENT = 0.3
"""Seconds before and after the end of its lifetime in which an upload may go on."""
AT_ONCE = 10
"""Uploads that are swept together, of each sort."""

INVITED = {"Expect": "100-continue"}
UNHEARD = 0
"""Stands for the status of an answer that never came."""
OUSTED = {409, UNHEARD}
"""What a writer meets that had to make room."""
STORED = {201, 204}
"""The answers to the last bytes."""

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Tally:
    """What was seen."""

    outcomes: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)

    def expect(self, condition: bool, violation: str) -> None:
        """Note what must never happen."""
        if not condition:
            self.violations[violation] += 1

    def __str__(self) -> str:
        return "; ".join(f"{outcome}: {count}" for outcome, count in self.outcomes.most_common())


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and a client of it who has all the time in the world."""

    url: URL
    session: ClientSession
    folder: Path
    choice: Random

    async def write(self, id: str, protocol: Protocol, offset: int, content: bytes, *, last: bool = False) -> int:
        """Continue an upload. Returns the status."""
        async with self.sending(id, protocol.append(offset, last=last), len(content)) as sending:
            return await self.send(sending, content)

    def sending(self, id: str, fields: Mapping[str, str], size: int) -> AbstractAsyncContextManager[Sending]:
        """A request that continues an upload with `size` bytes, on a connection of its own."""
        return Sending.to(self.url, f"{UPLOADS}/{id}", fields, size, _unheeded)

    async def send(self, sending: Sending, content: bytes) -> int:
        """Send everything, in some pieces. Returns the status."""
        piece = self.choice.randint(len(content) // 8, len(content)) + 1
        with suppress(ConnectionError):
            for start in range(0, len(content), piece):
                await sending.send(content[start : start + piece])
                await self.dawdle()
        answer = await sending.answer()
        return answer.status if answer else UNHEARD

    async def look(self, id: str) -> tuple[int, int]:
        """The status of an upload's HEAD, and the offset it tells; where it tells none, -1."""
        protocol = self.choice.choice(PROTOCOLS)
        async with self.session.head(f"{UPLOADS}/{id}", headers=protocol.always) as response:
            return response.status, int(response.headers.get("Upload-Offset", -1))

    async def record(self, id: str) -> str:
        """What the server says of an upload."""
        async with self.session.get(f"{UPLOADS}/{id}") as response:
            return await response.text()

    async def content(self, id: str) -> bytes:
        """Of a stored upload. Raises `aiohttp.ClientError`."""
        async with self.session.get(f"{UPLOADS}/{id}/content", raise_for_status=True) as response:
            return await response.read()

    async def dawdle(self) -> None:
        """Let others get ahead, or not."""
        await asyncio.sleep(self.choice.choice((0, self.choice.uniform(0, HASTE))))

    def protocols(self) -> Sequence[Protocol]:
        """Both, in any order, or one of them twice."""
        return self.choice.choices(PROTOCOLS, k=2)

    def traces(self, id: str) -> list[Path]:
        """The files of an upload."""
        return [path for path in self.folder.rglob(f"{id}.*") if path.is_file()]


def _unheeded(_: int) -> None:
    """Progress matters to nobody here."""


class Mixture:
    """An upload without an end, whose bytes tell who sent them."""

    def __init__(self, place: Place, id: str, head: bytes) -> None:
        self.id = id
        self.size = len(head)
        self._place = place
        self._parts: list[tuple[int, int, set[bytes]]] = []

    @classmethod
    async def begin(cls, place: Place) -> Self:
        """Create it, with as much as makes a recording of it."""
        head = next(audio.long_wav(ENDLESS))
        id = await create(place.session, IETF.creation(None))
        await place.write(id, IETF, 0, head)
        return cls(place, id, head)

    def contents(self) -> list[bytes]:
        """What two writers may bring."""
        letters = self._place.choice.sample(NO_TEXT, 2)
        return [bytes([letter]) * self._place.choice.randint(1, LARGEST) for letter in letters]

    def grew(self, end: int, contents: Iterable[bytes]) -> None:
        """Note that the bytes up to `end` come from one of these, and from its beginning."""
        self._parts.append((self.size, end, {content[: end - self.size] for content in contents}))
        self.size = end

    async def end(self, tally: Tally) -> None:
        """Bring the last bytes, and look at who sent the others."""
        status = await self._place.write(self.id, IETF, self.size, bytes(2), last=True)
        if status != 201:
            tally.violations[f"the last bytes met {status}, of {await self._place.record(self.id)}"] += 1
            return
        content = await self._place.content(self.id)
        for start, end, sent in self._parts:
            tally.expect(content[start:end] in sent, "bytes of two writers are mixed")


async def _two_writers(place: Place, tally: Tally, rounds: int) -> None:
    """Both append at the same offset, each something else."""
    mixture = await Mixture.begin(place)
    for _ in range(rounds):
        contents = mixture.contents()
        statuses = await asyncio.gather(
            *(
                place.write(mixture.id, protocol, mixture.size, content)
                for protocol, content in zip(place.protocols(), contents, strict=True)
            )
        )
        _, offset = await place.look(mixture.id)
        acknowledged = [content for content, status in zip(contents, statuses, strict=True) if status == 204]
        tally.outcomes[" and ".join(map(str, sorted(statuses)))] += 1
        tally.expect(len(acknowledged) < 2, "two requests were answered with 204")
        tally.expect(set(statuses) <= {204, *OUSTED}, f"two writers met {statuses}")
        tally.expect(offset >= mixture.size, f"offset {offset} was told after {mixture.size}")
        if acknowledged:
            tally.expect(
                offset == mixture.size + len(acknowledged[0]), "the offset is not where an acknowledged piece ends"
            )
        mixture.grew(offset, acknowledged or contents)
    await mixture.end(tally)


async def _a_look_at_a_writer(place: Place, tally: Tally, rounds: int) -> None:
    """The writer has to stop, and the offset told is the next one taken."""
    mixture = await Mixture.begin(place)
    for _ in range(rounds):
        (first, second), protocols = mixture.contents(), place.protocols()
        fields = {**protocols[0].append(mixture.size, last=False), **INVITED}
        async with place.sending(mixture.id, fields, len(first)) as sending, TaskGroup() as group:
            tally.expect(await sending.invited(), "a lone writer was not let in")
            writer = group.create_task(place.send(sending, first))
            await place.dawdle()
            status, offset = await place.look(mixture.id)
            after = await place.write(mixture.id, protocols[1], offset, second)
        tally.outcomes[f"writer {writer.result()}, next {after}"] += 1
        tally.expect(status in {200, 204}, f"HEAD met {status}")
        tally.expect(writer.result() in {204, *OUSTED}, f"the writer met {writer.result()}")
        tally.expect(after == 204, f"at the offset told, a writer met {after}")
        mixture.grew(offset, [first])
        mixture.grew(offset + len(second), [second])
    await mixture.end(tally)


async def _finish_and_delete(place: Place, tally: Tally, rounds: int) -> None:
    """The last bytes come while the upload is deleted."""
    for _ in range(rounds):
        recording, protocol = mixed(place.choice, 20 * KIB, LARGEST), place.choice.choice(PROTOCOLS)
        content = b"".join(recording.pieces())
        half = len(content) // 2
        id = await create(place.session, protocol.creation(len(content)))
        await place.write(id, protocol, 0, content[:half])
        finished, deleted = await asyncio.gather(
            _later(place, HASTE, place.write(id, protocol, half, content[half:], last=True)),
            _later(place, 5 * HASTE, delete(place.session, id)),
        )
        status, _ = await place.look(id)
        tally.outcomes[f"finish {finished}, delete {deleted}"] += 1
        tally.expect(finished in {201, 204, 404, 410, *OUSTED}, f"the last bytes met {finished}")
        tally.expect(deleted == 204, f"a deletion met {deleted}")
        tally.expect(status in {404, 410}, f"HEAD of what was deleted met {status}")
        tally.expect(not place.traces(id), f"{place.traces(id)} is left over")


async def _later(place: Place, longest: float, request: Awaitable[Answer]) -> Answer:
    """Make a request, after `longest` seconds or less."""
    await asyncio.sleep(place.choice.uniform(0, longest))
    return await request


async def _two_finals(place: Place, tally: Tally, rounds: int) -> None:
    """One set of parts becomes two uploads at once."""
    for _ in range(rounds):
        recording, parts = await _parts(place)
        finals = await asyncio.gather(*(_later(place, HASTE, _final(place, parts)) for _ in range(2)))
        tally.outcomes[" and ".join(str(status) for status, _ in finals)] += 1
        for final in finals:
            tally.expect(final == (201, recording.sha256()), f"of two finals, one met {final}")
        for part in parts:
            await delete(place.session, part)


async def _final_and_delete(place: Place, tally: Tally, rounds: int) -> None:
    """A part is deleted while all of them are put together."""
    for _ in range(rounds):
        recording, parts = await _parts(place)
        (status, digest), deleted = await asyncio.gather(
            _later(place, HASTE, _final(place, parts)), _later(place, 2 * HASTE, delete(place.session, parts[1]))
        )
        tally.outcomes[f"final {status}, delete {deleted}"] += 1
        tally.expect(deleted == 204, f"the deletion of a part met {deleted}")
        tally.expect(status in {201, 400}, f"a final that lost a part met {status}")
        tally.expect(digest in {recording.sha256(), None}, "a final is not what its parts are")
        await delete(place.session, parts[0])


async def _parts(place: Place) -> tuple[Recording, list[str]]:
    """A recording, uploaded as two partial uploads, and their ids."""
    recording = mixed(place.choice, 20 * KIB, LARGEST)
    content = b"".join(recording.pieces())
    parts = []
    for piece in (content[: len(content) // 2], content[len(content) // 2 :]):
        parts.append(await create(place.session, {**TUS.creation(len(piece)), "Upload-Concat": "partial"}))
        await place.write(parts[-1], TUS, 0, piece)
    return recording, parts


async def _final(place: Place, parts: Sequence[str]) -> tuple[int, str | None]:
    """Put partial uploads together. Returns the status and the digest of the whole."""
    concat = "final;" + " ".join(f"{UPLOADS}/{part}" for part in parts)
    async with place.session.post(UPLOADS, headers={**TUS.always, "Upload-Concat": concat}) as response:
        document = await response.json(content_type=None)
        return response.status, document.get("sha256")


async def _sweeps(place: Place, tally: Tally, rounds: int) -> None:
    """Uploads expire, at the hands of the server and of another process, while some are written and others go on in
    the last moment."""
    for _ in range(math.ceil(rounds / 2 / AT_ONCE)):
        async with TaskGroup() as group:
            late = [group.create_task(_late(place, tally)) for _ in range(AT_ONCE)]
            for _ in range(AT_ONCE):
                group.create_task(_lingering(place, tally))
            await asyncio.sleep(LIFETIME - START)
            tally.expect(await _sweep(place.folder) == 0, "a sweep failed")
        tally.expect(await _sweep(place.folder) == 0, "a sweep failed")
        for expired in filter(None, (task.result() for task in late)):
            await _expect_expired(place, tally, expired)


async def _lingering(place: Place, tally: Tally) -> None:
    """One request takes longer than an upload may rest."""
    id, protocol, content = await _begun(place)
    fields = {**protocol.append(len(content) // 2, last=True), **INVITED}
    rest = content[len(content) // 2 :]
    async with place.sending(id, fields, len(rest)) as sending:
        if await sending.invited():
            await sending.send(rest[:-1])
            await asyncio.sleep(LIFETIME + 2 * START)
            await sending.send(rest[-1:])
            allowed = STORED
        else:
            allowed = {410}  # it had expired before: the machine is busy
        answer = await sending.answer()
    status = answer.status if answer else UNHEARD
    tally.outcomes[f"lingering {status}"] += 1
    tally.expect(status in allowed, f"a lingering writer met {status}")


async def _late(place: Place, tally: Tally) -> str | None:
    """The rest comes about when the upload expires. Returns the id of an upload that did."""
    id, protocol, content = await _begun(place)
    await asyncio.sleep(place.choice.uniform(LIFETIME - MOMENT, LIFETIME + MOMENT))
    half = len(content) // 2
    status = await place.write(id, protocol, half, content[half:], last=True)
    tally.outcomes[f"late {status}"] += 1
    tally.expect(status in {*STORED, 410}, f"a late writer met {status}")
    return id if status == 410 else None


async def _expect_expired(place: Place, tally: Tally, id: str) -> None:
    status, _ = await place.look(id)
    tally.expect(status == 410, f"HEAD of what has expired met {status}")
    tally.expect(not place.traces(id), f"{place.traces(id)} is left over")
    status = await delete(place.session, id)
    tally.expect(status == 204, f"the deletion of what has expired met {status}")


async def _begun(place: Place) -> tuple[str, Protocol, bytes]:
    """A recording, the first half of it uploaded."""
    recording, protocol = mixed(place.choice, 20 * KIB, LARGEST), place.choice.choice(PROTOCOLS)
    content = b"".join(recording.pieces())
    id = await create(place.session, protocol.creation(len(content)))
    await place.write(id, protocol, 0, content[: len(content) // 2])
    return id, protocol, content


async def _sweep(folder: Path) -> int:
    """Sweep in a process of its own. Returns its exit status."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAIE_")}
    process = await Process.launch(
        "-m", "maie_aiohttp", "sweep", environment={**inherited, "MAIE_STORAGE__FOLDER": str(folder)}
    )
    return await process.ended()


async def _two_servers(folder: Path, rounds: int) -> Tally:
    """Two start on one folder; a sweep may run beside the one that serves."""
    tally = Tally()
    for _ in range(rounds):
        servers = [await launch(folder, {}) for _ in range(2)]
        started = await asyncio.gather(*(server.url() for server in servers), return_exceptions=True)
        serving = [server for server, url in zip(servers, started, strict=True) if isinstance(url, str)]
        tally.outcomes[f"{len(serving)} of 2 serve"] += 1
        tally.expect(len(serving) == 1, f"{len(serving)} servers serve one folder")
        tally.expect(await _sweep(folder) == 0, "a sweep beside a server failed")
        for server in serving:
            server.signal(signal.SIGTERM)
        statuses = sorted([await server.ended() for server in servers])
        tally.expect(statuses == [0, 1], f"two servers on one folder ended with {statuses}")
    return tally


Race = Callable[[Place, Tally, int], Awaitable[None]]

RACES: Mapping[str, Race] = {
    "two writers": _two_writers,
    "HEAD during PATCH": _a_look_at_a_writer,
    "finish and DELETE": _finish_and_delete,
    "two finals": _two_finals,
    "final and DELETE": _final_and_delete,
}


async def run(folder: Path, *, rounds: int, starts: int) -> Report:
    """Run each race `rounds` times, and start two servers on one folder `starts` times."""
    tallies = {
        **await _run(folder / "races", {}, RACES, rounds),
        **await _run(folder / "sweeps", SWEEPING, {"sweeps": _sweeps}, rounds),
        "two servers": await _two_servers(folder / "two-servers", starts),
    }
    violations = [
        f"{name}: {violation} ({count})"
        for name, tally in tallies.items()
        for violation, count in tally.violations.items()
    ]
    return Report(f"{rounds} races", {name: str(tally) for name, tally in tallies.items()}, violations)


async def _run(folder: Path, settings: Mapping[str, str], races: Mapping[str, Race], rounds: int) -> dict[str, Tally]:
    """Run races, one after the other, on one server."""
    tallies = {name: Tally() for name in races}
    async with serving(folder, settings) as server, client(server) as session:
        place = Place(URL(await server.url()), session, folder, Random(5))
        for name, tally in tallies.items():
            logged = len(server.log)
            await races[name](place, tally, rounds)
            tally.violations.update(await differences(session, folder))
            tally.violations.update(f"logged: {line}" for line in server.log[logged:] if '"level": "error"' in line)
    return tallies
