"""Whether anything installed has a known weakness: `python -m tests.weaknesses`, part of `make check`.

Asks the advisory service of pip-audit. Where that cannot be reached, or knows nothing of what is installed, one line
says that there was no audit, and nothing fails: a check must work without a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

COMMAND = (
    sys.executable,
    "-m",
    "pip_audit",
    "--format=json",
    "--progress-spinner=off",
    "--skip-editable",
    "--timeout=10",
)
PATIENCE = 300
"""Seconds for all packages."""


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say."""

    lines: Sequence[str]
    is_bad: bool = False
    """Whether a weakness is known."""


def audit(*options: str, environment: Mapping[str, str] | None = None) -> Report:
    """Ask about every package of this environment. `options` are pip-audit's."""
    try:
        done = subprocess.run(
            (*COMMAND, *options), env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return Report([f"No audit: the advisory service did not answer within {PATIENCE} s."])
    with suppress(ValueError, KeyError):
        return told(json.loads(done.stdout)["dependencies"])
    last = (done.stderr.strip() or "no word").splitlines()[-1]
    return Report([f"No audit: the advisory service cannot be reached ({last[:200]})."])


def told(packages: Sequence[Mapping[str, Any]]) -> Report:
    """What the answers about these packages come to."""
    known = [package for package in packages if "vulns" in package]
    found = [line for package in known for line in _weaknesses(package)]
    if not known:
        return Report([f"No audit: the advisory service knows none of {len(packages)} packages."])
    return Report(
        [*found, f"Audited {len(known)} of {len(packages)} packages; known weaknesses: {len(found)}."], bool(found)
    )


def _weaknesses(package: Mapping[str, Any]) -> Iterator[str]:
    for weakness in package["vulns"]:
        fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
        yield f"{package['name']} {package['version']}: {weakness['id']}, fixed in {fixed}"


if __name__ == "__main__":
    report = audit()
    sys.stdout.write("\n".join([*report.lines, ""]))
    sys.exit(report.is_bad)
