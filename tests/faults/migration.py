"""`python -m tests.faults.migration CATALOG`: open a catalog of the first version, and be killed at every
step of that."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from itertools import count
from pathlib import Path

from maie_aiohttp.catalogs.sql import SqlCatalog, sqlite_url
from tests.faults.injector import Injector
from tests.faults.kinds import DEATHS
from tests.faults.processes import in_child
from tests.layers import query


def main(first: Path) -> None:
    """Say after each kill which version stands there, and how many rows it has."""
    injector = Injector()
    with injector.installed():
        for number in count(1):
            catalog = first.with_name(f"{number}.sqlite")
            shutil.copy(first, catalog)
            killed = in_child(partial(_open, catalog, injector, number))
            (version,) = query(catalog, "SELECT version_num FROM alembic_version")[0]
            rows = [len(query(catalog, f"SELECT 1 FROM {table}")) for table in ("uploads", "outbox")]  # noqa: S608 - ours
            sys.stdout.write(f"{'killed' if killed else 'done'}: {version}, {rows}\n")
            if not killed:
                return


async def _open(catalog: Path, injector: Injector, number: int) -> None:
    injector.arm(DEATHS[0], number)
    await (await SqlCatalog.open(sqlite_url(catalog))).close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
