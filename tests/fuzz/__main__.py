"""A target under a fuzzer that watches branches: `python -m tests.fuzz TARGET [CORPUS] [OPTIONS OF LIBFUZZER]`.

It runs until something fails, or for `-max_total_time=SECONDS`. What it finds lands in the working folder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("This needs atheris: pip install atheris (Linux, CPython 3.11 to 3.13).")

with atheris.instrument_imports(include=["maie_aiohttp", "aiohttp", "http_sf"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Begin with the target's seeds."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"Name a target: {', '.join(TARGETS)}")
    target, seeds = TARGETS[sys.argv[1]]
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], *sys.argv[2:], folder], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
