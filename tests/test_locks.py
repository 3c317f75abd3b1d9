"""One writer an upload. The other processes here are this module, run as a program: see `OTHERS`."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest

from maie_aiohttp.errors import IntakeError, Locked, Superseded
from maie_aiohttp.intake.locks import PLACES, Locks

UPLOAD, ANOTHER = uuid4(), uuid4()
AMPLE = 60.0
"""Seconds of patience that no test uses up."""


class Holder:
    """Holds an upload until it is told to let go."""

    def __init__(self, locks: Locks, id: UUID = UPLOAD) -> None:
        self.heard: list[IntakeError] = []
        self.interrupted, self.held, self.may_go = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._hold(locks, id))

    async def _hold(self, locks: Locks, id: UUID) -> None:
        async with locks.hold(id, self._hear):
            self.held.set()
            await self.may_go.wait()

    def _hear(self, error: IntakeError) -> None:
        self.heard.append(error)
        self.interrupted.set()

    async def let_go(self) -> None:
        self.may_go.set()
        await self.task

    async def cancel(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


def no_interest(_: IntakeError) -> None:
    """Goes on regardless."""


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture
def locks(file: Path) -> Iterator[Locks]:
    """Nothing is left of any test's locks at its end."""
    with closing(Locks(file, patience=AMPLE)) as locks:
        yield locks
        assert (locks._lines, locks._held) == ({}, {})


@pytest.fixture
def hasty(file: Path) -> Iterator[Locks]:
    """Gives up soon."""
    with closing(Locks(file, patience=0.05)) as locks:
        yield locks
        assert (locks._lines, locks._held) == ({}, {})


def test_the_file_is_private(locks: Locks, file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, file: Path) -> None:
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Locks(file)
    assert not (tmp_path / "elsewhere").exists()


async def test_nobody_interrupts_a_lone_holder(locks: Locks) -> None:
    first, elsewhere = Holder(locks), Holder(locks, ANOTHER)
    await first.held.wait()
    await elsewhere.held.wait()
    await first.let_go()
    await elsewhere.let_go()
    assert first.heard == elsewhere.heard == []


async def test_a_newcomer_interrupts_the_holder_and_waits_for_it(locks: Locks) -> None:
    first = Holder(locks)
    await first.held.wait()
    second = Holder(locks)
    await first.interrupted.wait()
    assert not second.held.is_set()
    await first.let_go()
    await second.held.wait()
    await second.let_go()
    assert [type(error) for error in first.heard] == [Superseded]
    assert second.heard == []


async def test_each_is_interrupted_once_and_served_in_order(locks: Locks) -> None:
    holders = [Holder(locks) for _ in range(5)]
    for number, holder in enumerate(holders):
        await holder.held.wait()
        assert not any(later.held.is_set() for later in holders[number + 1 :])
        await settled()
        await holder.let_go()
    assert [len(holder.heard) for holder in holders] == [1, 1, 1, 1, 0]


async def test_who_waits_in_vain_is_told_so(hasty: Locks) -> None:
    first = Holder(hasty)
    await first.held.wait()
    with pytest.raises(Locked):
        async with hasty.hold(UPLOAD, no_interest):
            pass
    await first.let_go()
    with hasty.try_hold(UPLOAD):
        pass


async def test_a_cancelled_holder_lets_go(locks: Locks) -> None:
    first = Holder(locks)
    await first.held.wait()
    second = Holder(locks)
    await first.interrupted.wait()
    await first.cancel()
    await second.held.wait()
    await second.let_go()


async def test_a_holder_that_fails_lets_go(locks: Locks) -> None:
    with pytest.raises(KeyError, match="lost"):
        async with locks.hold(UPLOAD, no_interest):
            raise KeyError("lost")
    with locks.try_hold(UPLOAD):
        pass


async def test_a_waiter_that_leaves_is_passed_over(locks: Locks) -> None:
    first, leaving, last = Holder(locks), Holder(locks), Holder(locks)
    await first.held.wait()
    await leaving.cancel()
    await first.let_go()
    await last.held.wait()
    await last.let_go()
    assert last.heard == []


async def test_a_waiter_that_leaves_in_the_moment_of_its_turn_passes_it_on(locks: Locks) -> None:
    async with locks.hold(UPLOAD, no_interest):
        leaving, last = Holder(locks), Holder(locks)
        await settled()
    await leaving.cancel()  # has its turn, but did not run since
    await last.held.wait()
    await last.let_go()
    assert not leaving.held.is_set()


async def test_trying_does_not_disturb_the_holder(locks: Locks) -> None:
    first = Holder(locks)
    await first.held.wait()
    with pytest.raises(Locked), locks.try_hold(UPLOAD):
        pass
    await first.let_go()
    assert first.heard == []


async def test_who_tried_and_holds_is_waited_for(locks: Locks) -> None:
    with locks.try_hold(UPLOAD):
        second = Holder(locks)
        await settled()
        assert not second.held.is_set()
    await second.held.wait()
    await second.let_go()


async def test_fifty_tasks_never_overlap(locks: Locks) -> None:
    inside: set[int] = set()

    async def write(number: int) -> None:
        async with locks.hold(UPLOAD, no_interest):
            assert not inside
            inside.add(number)
            await asyncio.sleep(0)
            inside.remove(number)

    await asyncio.gather(*map(write, range(50)))


@asynccontextmanager
async def other(part: str, file: Path, *arguments: object) -> AsyncIterator[Process]:
    """Another process that plays a part of `OTHERS`. It does not outlive the block."""
    words = [str(word) for word in (part, file, *arguments)]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, *words, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> str:
    """The next line it prints."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def wanted(file: Path, id: UUID) -> bool:
    """Whether any process wants the upload."""
    async with other("look", file, id) as onlooker:
        return await line(onlooker) == "True"


async def test_a_holder_in_another_process_is_asked_and_lets_go(locks: Locks, file: Path) -> None:
    async with other("hold", file, UPLOAD) as process:
        assert await line(process) == "held"
        async with locks.hold(UPLOAD, no_interest):
            assert await line(process) == "Superseded"
            assert await line(process) == ""


async def test_another_process_asks_the_holder_here(locks: Locks, file: Path) -> None:
    first, elsewhere = Holder(locks), Holder(locks, ANOTHER)
    await first.held.wait()
    await elsewhere.held.wait()
    async with other("hold", file, UPLOAD) as process:
        await first.interrupted.wait()
        await first.let_go()
        assert await line(process) == "held"
    await elsewhere.let_go()
    assert [type(error) for error in first.heard] == [Superseded]
    assert elsewhere.heard == []


async def test_of_many_uploads_held_here_only_those_wanted_are_interrupted(locks: Locks, file: Path) -> None:
    holders = {id: Holder(locks, id) for id in (uuid4() for _ in range(20))}
    chosen = dict(list(holders.items())[7:9])
    async with AsyncExitStack() as processes:
        for id in chosen:
            await processes.enter_async_context(other("hold", file, id))
        for holder in chosen.values():
            await holder.interrupted.wait()
    for holder in holders.values():
        await holder.let_go()
    assert [id for id, holder in holders.items() if holder.heard] == list(chosen)


async def test_a_process_that_holds_on_is_waited_for_in_vain(hasty: Locks, file: Path) -> None:
    async with other("keep", file, UPLOAD) as process:
        assert await line(process) == "held"
        waiting = [Holder(hasty) for _ in range(3)]
        outcomes = await asyncio.gather(*(holder.task for holder in waiting), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Locked] * 3
    assert not any(holder.heard for holder in waiting)


async def test_a_killed_holder_has_let_go(locks: Locks, file: Path) -> None:
    async with other("keep", file, UPLOAD) as process:
        assert await line(process) == "held"
        process.send_signal(signal.SIGKILL)
        await process.wait()
        with locks.try_hold(UPLOAD):
            pass


async def test_a_killed_waiter_wants_nothing(locks: Locks, file: Path) -> None:
    first = Holder(locks)
    await first.held.wait()
    async with other("hold", file, UPLOAD) as process:
        await first.interrupted.wait()
        assert await wanted(file, UPLOAD)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert not await wanted(file, UPLOAD)
    await first.let_go()


async def test_trying_does_not_disturb_another_process(locks: Locks, file: Path) -> None:
    async with other("hold", file, UPLOAD) as process:
        assert await line(process) == "held"
        with pytest.raises(Locked), locks.try_hold(UPLOAD):
            pass
        with locks.try_hold(ANOTHER):
            pass
        assert not await wanted(file, UPLOAD)


async def test_looking_after_others_wishes_keeps_ones_own(locks: Locks, file: Path) -> None:
    async with other("keep", file, UPLOAD) as process:
        assert await line(process) == "held"
        holding, waiting = Holder(locks, ANOTHER), Holder(locks, UPLOAD)
        async with other("hold", file, ANOTHER):
            await holding.interrupted.wait()
            assert await wanted(file, UPLOAD)
        await waiting.cancel()
        assert not await wanted(file, UPLOAD)
        await holding.let_go()


async def test_what_is_owned_is_left_alone_here(locks: Locks) -> None:
    with locks.own(UPLOAD):
        assert locks.is_owned(UPLOAD)
        assert not locks.is_owned(ANOTHER)
        with pytest.raises(Locked), locks.own(UPLOAD):
            pass
        with pytest.raises(Locked), locks.vacant(UPLOAD):
            pass
        async with locks.hold(UPLOAD, no_interest):
            pass
    assert not locks.is_owned(UPLOAD)
    with locks.vacant(UPLOAD):
        assert locks.is_owned(UPLOAD)


async def test_what_is_held_is_not_vacant(locks: Locks) -> None:
    async with locks.hold(UPLOAD, no_interest):
        with pytest.raises(Locked), locks.vacant(UPLOAD):
            pass
    with locks.vacant(UPLOAD):
        pass


async def test_what_another_process_owns_it_loses_with_its_life(locks: Locks, file: Path) -> None:
    async with other("own", file, UPLOAD) as process:
        assert await line(process) == "owned"
        assert locks.is_owned(UPLOAD)
        for attempt in (locks.own, locks.vacant):
            with pytest.raises(Locked), attempt(UPLOAD):
                pass
        with locks.own(ANOTHER), locks.try_hold(UPLOAD):
            assert locks.is_owned(UPLOAD)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert not locks.is_owned(UPLOAD)
    with locks.vacant(UPLOAD):
        pass


async def test_two_processes_that_want_what_the_other_holds_both_hear_of_it(locks: Locks, file: Path) -> None:
    first = Holder(locks)
    await first.held.wait()
    async with other("swap", file, ANOTHER, UPLOAD) as process:
        assert await line(process) == "held"
        second = Holder(locks, ANOTHER)
        assert await line(process) == "Superseded"
        await first.interrupted.wait()
        await first.let_go()
        assert await line(process) == "held"
        await second.held.wait()
        await second.let_go()


@pytest.mark.parametrize("seed", range(3))
async def test_two_processes_of_several_tasks_never_overlap(locks: Locks, file: Path, seed: int) -> None:
    async with other("race", file, UPLOAD, ANOTHER, seed) as process:
        assert await line(process) == "ready"
        await race(locks, file, [UPLOAD, ANOTHER], Random(-seed - 1))
        assert await process.wait() == 0
    for id in (UPLOAD, ANOTHER):
        lines = journal(file, id).read_text().splitlines()
        assert [line.replace("begin", "end") for line in lines[::2]] == lines[1::2]


def journal(file: Path, id: UUID) -> Path:
    """Where those who hold the upload write when they begin and end."""
    return file.with_name(str(id))


async def race(locks: Locks, file: Path, ids: list[UUID], choice: Random) -> None:
    """Several tasks that hold uploads again and again, are cancelled now and then, and write it down."""

    async def write(id: UUID, name: str) -> None:
        if choice.random() < 0.2:
            with suppress(Locked), locks.try_hold(id):
                await write_down(id, name)
        else:
            async with locks.hold(id, no_interest):
                await write_down(id, name)

    async def write_down(id: UUID, name: str) -> None:
        with journal(file, id).open("a", buffering=1) as lines:
            lines.write(f"begin {name}\n")
            try:
                await asyncio.sleep(choice.choice((0, 0.001, 0.01)))
            finally:
                lines.write(f"end {name}\n")

    async def rounds(task: int) -> None:
        for number in range(10):
            writing = asyncio.create_task(write(choice.choice(ids), f"{os.getpid()}-{task}-{number}"))
            if choice.random() < 0.3:
                asyncio.get_running_loop().call_later(choice.random() / 20, writing.cancel)
            with suppress(asyncio.CancelledError):
                await writing

    await asyncio.gather(*map(rounds, range(4)))


def say(word: object) -> None:
    """To the process that reads along."""
    print(word, flush=True)  # noqa: T201 - how the other process speaks


async def play_hold(locks: Locks, id: str) -> None:
    """Hold until interrupted."""
    interrupted = asyncio.Event()

    def interrupt(error: IntakeError) -> None:
        say(type(error).__name__)
        interrupted.set()

    async with locks.hold(UUID(id), interrupt):
        say("held")
        await interrupted.wait()


async def play_keep(locks: Locks, id: str) -> None:
    """Hold for ever."""
    async with locks.hold(UUID(id), lambda error: say(type(error).__name__)):
        say("held")
        await asyncio.Event().wait()


async def play_own(locks: Locks, id: str) -> None:
    """Own for ever."""
    with locks.own(UUID(id)):
        say("owned")
        await asyncio.Event().wait()


async def play_swap(locks: Locks, held: str, wanted: str) -> None:
    """Hold one upload, and let it go only when the other one is held too."""
    async with locks.hold(UUID(held), lambda error: say(type(error).__name__)):
        say("held")
        async with locks.hold(UUID(wanted), no_interest):
            say("held")


async def play_look(locks: Locks, id: str) -> None:
    """Tell whether somebody wants the upload."""
    place = UUID(id).int % PLACES
    say(locks._bytes.wanted(place, place))


async def play_race(locks: Locks, *arguments: str) -> None:
    """Race beside another process."""
    *ids, seed = arguments
    say("ready")
    await race(locks, Path(sys.argv[2]), [UUID(id) for id in ids], Random(int(seed)))


OTHERS: Mapping[str, Callable[..., Awaitable[None]]] = {
    "hold": play_hold,
    "keep": play_keep,
    "own": play_own,
    "swap": play_swap,
    "look": play_look,
    "race": play_race,
}


async def main(part: str, file: str, *arguments: str) -> None:
    with closing(Locks(Path(file), patience=AMPLE)) as locks:
        await OTHERS[part](locks, *arguments)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
