"""`fsck [--repair] [--rate RATE] [--grace TIME]` on the command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable

from maie_aiohttp import journal
from maie_aiohttp.errors import IntakeError
from maie_aiohttp.settings import Settings
from maie_aiohttp.units import DURATIONS, MIB, SIZES, Scale

CLEAN, FOUND, NOT_DONE = 0, 1, 2
"""Exit statuses."""


def main(configured: Settings, chosen: argparse.Namespace) -> int:
    """Run it. Returns the exit status: 1 where something was found, 2 where that could not be found out."""
    from maie_aiohttp.fsck.findings import Report  # noqa: PLC0415 - no server needs them, and each start reads this
    from maie_aiohttp.fsck.run import look, repair  # noqa: PLC0415

    report = Report(lambda line: print(line, flush=True))  # noqa: T201 - it is what was asked for
    try:
        with journal.written(level=configured.log.level, style=configured.log.format):
            if chosen.repair:
                asyncio.run(repair(configured, report, rate=chosen.rate))
            else:
                asyncio.run(look(configured, report, rate=chosen.rate, grace=chosen.grace / 1_000))
    except (IntakeError, OSError) as error:
        causes = [str(cause) for cause in (error, error.__cause__) if cause is not None]
        sys.stderr.write(f"Not checked to the end: {' '.join(causes)}\n")
        return NOT_DONE
    except KeyboardInterrupt:
        return NOT_DONE
    report.close()
    return FOUND if report.findings else CLEAN


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the command line about it."""
    parser = commands.add_parser(
        "fsck",
        help="compare disk and catalog; a server may be running, unless --repair is given",
        description="Compares disk and catalog, one line a finding. Exit status: 0 if there is none, 1 if there are "
        "any, 2 if that could not be found out.",
    )
    parser.add_argument("--repair", action="store_true", help="put right what is safe; no server may be running")
    parser.add_argument("--rate", type=_rate, default=100 * MIB, help='bytes read in a second (default: "100 MiB")')
    parser.add_argument(
        "--grace",
        type=_quantity(DURATIONS),
        default=DURATIONS.steps("1 h"),
        help='what no record speaks of is left alone so long, as it may be under way (default: "1 h"); with --repair, '
        "nothing is",
    )


def _rate(text: str) -> int:
    rate = _quantity(SIZES)(text)
    if rate == 0:
        raise argparse.ArgumentTypeError("at that rate, it never ends")
    return rate


def _quantity(scale: Scale) -> Callable[[str], int]:
    def quantity(text: str) -> int:
        try:
            return scale.steps(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return quantity
