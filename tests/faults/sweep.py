"""The points: for each door and each fault the first call, the second, and so on, until nothing goes wrong any more."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

from maie_aiohttp.errors import IntakeError
from tests.faults.doors import DOORS, Door
from tests.faults.errands import ERRANDS, Errand, unarmed
from tests.faults.injector import Injector
from tests.faults.invariants import check
from tests.faults.kinds import CATALOG, CHANGING, GROWING, SYNCING, Fault
from tests.faults.ledger import Ledger
from tests.faults.place import Place, running
from tests.faults.processes import here, in_child
from tests.faults.relaying import Relaying

Subject = type[Door] | type[Errand]
SUBJECTS: tuple[Subject, ...] = (*DOORS, *ERRANDS, Relaying)

Visit = Callable[[], Coroutine[None, None, bool]]
"""One point; returns whether anything went wrong."""

CHANGES = (GROWING | SYNCING | CHANGING | CATALOG) - {"open", "mkdir", "makedirs"}
"""Calls that count in an errand, which looks at every folder of the layout, and makes those that are missing."""


@dataclass(frozen=True, slots=True)
class Course:
    """One door or errand, one fault, on one folder."""

    subject: Subject
    fault: Fault
    points: int
    violations: list[str]

    def __str__(self) -> str:
        return f"{self.subject.__name__:14} {self.fault.name:30} {self.points:4} points"


class Scene:
    """What all points of a course share."""

    def __init__(self, folder: Path, ledger: Path, injector: Injector) -> None:
        self.folder = folder
        self.injector = injector
        self._ledger = ledger
        self._told = 0

    def running(self) -> AbstractAsyncContextManager[Place]:
        """The server, started on what the last one has left."""
        return running(self.folder, self.injector, Ledger(self._ledger))

    def news(self, when: str) -> list[str]:
        """What was violated since the last time: at that point, or at the one before it."""
        violations = Ledger(self._ledger).violations[self._told :]
        self._told += len(violations)
        return [f"{when}: {violation}" for violation in violations]


class Sweep:
    """Of one process."""

    def __init__(self, injector: Injector, *, step: int = 1) -> None:
        """With a `step` above 1, not every call is a point."""
        self._injector = injector
        self._step = step

    def failures(self, subjects: Iterable[Subject], faults: Iterable[Fault]) -> Iterator[Course]:
        """Calls fail; the server lives on, and is started anew after each."""
        return self._all(subjects, faults, here)

    def kills(self, subjects: Iterable[Subject], faults: Iterable[Fault]) -> Iterator[Course]:
        """The server dies at the call, and is started anew. It does so in a child of this process, which must have
        one thread alone."""
        return self._all(subjects, faults, in_child)

    def _all(
        self,
        subjects: Iterable[Subject],
        faults: Iterable[Fault],
        run: Callable[[Visit], bool],
    ) -> Iterator[Course]:
        faults = list(faults)
        for subject in subjects:
            for fault in faults:
                chosen = fault if issubclass(subject, Door) else replace(fault, calls=fault.calls & CHANGES)
                if chosen.calls:
                    with tempfile.TemporaryDirectory(prefix="faults-") as made:
                        yield self._course(subject, chosen, Path(made), run)

    def _course(self, subject: Subject, fault: Fault, folder: Path, run: Callable[[Visit], bool]) -> Course:
        scene = Scene(folder / "data", folder / "ledger", self._injector)
        violations, points = list[str](), 0
        for number in count(1, self._step):
            if not run(partial(_visit, scene, subject, fault, number)):
                break
            points += 1
            violations += scene.news(f"{subject.__name__}, {fault.name}, call {number}")
        run(partial(_look, scene))
        violations += scene.news(f"{subject.__name__}, {fault.name}, at the end")
        return Course(subject, fault, points, violations)


async def _look(scene: Scene) -> bool:
    async with scene.running() as place:
        await check(place)
    return False


async def _visit(scene: Scene, subject: Subject, fault: Fault, number: int) -> bool:
    """One point, and a look at what the one before has left. Returns whether anything went wrong."""
    if issubclass(subject, Errand):
        return await _run_errand(scene, subject, fault, number)
    async with scene.running() as place:
        await check(place)
        client = subject(place)
        await client.prepare()
        scene.injector.arm(fault, number)
        try:
            await client.attempt()
        finally:
            struck = scene.injector.disarm()
        await client.finish()
    return struck


async def _run_errand(scene: Scene, subject: type[Errand], fault: Fault, number: int) -> bool:
    """The same. First it is run again, as it may have been killed the last time."""
    errand = subject(scene.folder)
    if (scene.folder / "catalog.sqlite").exists():
        await errand.run(unarmed)
    async with scene.running() as place:
        await check(place)
        await errand.prepare(place)
    errand.spoil()
    with suppress(IntakeError, OSError):  # the operator is told, and does it again
        await errand.run(partial(scene.injector.arm, fault, number))
    struck = scene.injector.disarm()
    await errand.run(unarmed)
    return struck
