"""`python -m tests.faults`: every fault at every call of every door, in eight minutes. Exit status 1 where anything
was lost."""

from __future__ import annotations

import argparse
import sys
from itertools import chain

from tests.faults.injector import Injector
from tests.faults.kinds import DEATHS, ERRORS
from tests.faults.silence import silence
from tests.faults.sweep import SUBJECTS, Sweep


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    subjects = {subject.__name__.lower(): subject for subject in SUBJECTS}
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Inject every fault; lose nothing.")
    parser.add_argument("subject", nargs="*", choices=(*subjects, []), help="all of them, if none is named")
    parser.add_argument("--step", type=int, default=1, help="calls from one point to the next (default: 1)")
    chosen = parser.parse_args(arguments)
    silence()
    injector = Injector()
    points = violations = 0
    with injector.installed():
        sweep = Sweep(injector, step=chosen.step)
        wanted = [subjects[name] for name in chosen.subject or subjects]
        for course in chain(sweep.kills(wanted, DEATHS), sweep.failures(wanted, ERRORS)):
            points += course.points
            violations += len(course.violations)
            sys.stdout.write("\n".join([str(course), *(f"  VIOLATION: {one}" for one in course.violations), ""]))
            sys.stdout.flush()
    sys.stdout.write(f"{points} points injected, {violations} violations\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
