"""`python -m benchmarks`: this server beside its peers, in one run on one machine."""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import cache, stages
from benchmarks.cache import Cache, versions
from benchmarks.chart import svg
from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.folders import Folders
from benchmarks.results import Results, machine
from benchmarks.run import installed, note, outcomes, say
from benchmarks.table import markdown
from benchmarks.workloads import FULL, QUICK, workloads

RESULTS = Path(__file__).with_name("results")
MEMORY = Path("/dev/shm")  # noqa: S108 - not for a name there: it is what Linux keeps in memory
PEERS = tuple(contender.name for contender in CONTENDERS if contender.name != OURS)
WORKLOADS = tuple(workload.name for workload in workloads(FULL))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    chosen = _parser().parse_args(arguments)
    _allow_descriptors()
    chosen.cache.mkdir(parents=True, exist_ok=True)
    chosen.disk.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="benchmarks-", dir=chosen.memory) as memory,
        tempfile.TemporaryDirectory(prefix="benchmarks-", dir=chosen.disk) as disk,
    ):
        asyncio.run(_run(chosen, Folders(Path(memory), Path(disk))))


async def _run(chosen: argparse.Namespace, folders: Folders) -> None:
    """The results are written after each workload, so that nothing is lost when it is interrupted."""
    labels = {**{contender.name: contender.about for contender in CONTENDERS}, **stages.LABELS}
    results = Results(chosen.rounds or (1 if chosen.quick else 3), machine(), await versions(), labels)
    store = Cache(chosen.cache)
    wanted = QUICK if chosen.quick else FULL
    scale = wanted.fitting(folders.room())
    if chosen.quick:
        note(results.notes, "Small sizes, to see that it works: these figures say nothing.")
    if scale != wanted:
        note(results.notes, "Memory is short here: files are smaller than the names of the workloads say.")
    runners = await installed([each for each in CONTENDERS if each.name in (OURS, *chosen.peers)], store, results.notes)
    selected = [workload for workload in workloads(scale) if workload.name in chosen.only]
    async for outcome in outcomes(selected, runners, folders, store, results.rounds):
        results.outcomes.append(outcome)
        _write(results, chosen.name)
    say(f"\n{markdown(results)}\nWritten to {RESULTS / chosen.name}.json, .md and .svg")


def _write(results: Results, name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    for suffix, text in (("json", results.as_json()), ("md", markdown(results)), ("svg", svg(results))):
        (RESULTS / f"{name}.{suffix}").write_text(text)


def _allow_descriptors() -> None:
    """As many as a process may open, here and in the servers started from here: not all raise the limit themselves."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", type=_among(WORKLOADS), default=WORKLOADS, help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--peers", type=_among(PEERS), default=PEERS, help=f"beside ours, of {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, help="3, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--name", default=f"{datetime.now(UTC):%Y-%m-%d}", help="of the files in benchmarks/results")
    parser.add_argument("--cache", type=Path, default=cache.DEFAULT, help="where peers are installed")
    parser.add_argument("--memory", type=Path, default=MEMORY, help="a folder on a memory file system")
    parser.add_argument("--disk", type=Path, default=cache.DEFAULT, help="a folder on a real disk")
    return parser


def _among(names: Sequence[str]) -> Callable[[str], Sequence[str]]:
    """Reads a list with commas."""

    def read(text: str) -> Sequence[str]:
        unknown = set(text.split(",")) - set(names)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(names)}")
        return text.split(",")

    return read


if __name__ == "__main__":
    main()
