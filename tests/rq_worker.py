"""MAIE's side of the queue: RQ's own worker, unmodified, and a job of the name of MAIE's that notes what it is told."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PIPELINE = """
import json
import os
from datetime import datetime, timezone
from pathlib import Path

from redis import Redis
from rq import get_current_job


def process_audio_task(task_params):
    task, path = f"task:{get_current_job().id}", Path(task_params["audio_path"])
    tasks = Redis(host=task_params["redis_host"], port=task_params["redis_port"], db=task_params["redis_db"])
    run = {"job": get_current_job().id, "params": task_params, "size": path.stat().st_size}
    run["status"] = tasks.hget(task, "status").decode()
    with open(os.environ["RUNS"], "ab", buffering=0) as runs:
        runs.write(json.dumps(run).encode() + b"\\n")
    results = json.dumps({"clean_transcript": "Ada speaks."})
    tasks.hset(task, mapping={"status": "COMPLETE", "results": results})
    return {"status": "COMPLETE"}
"""
"""`src/worker/pipeline.py`."""

Run = Mapping[str, Any]
"""What one run of the job met."""


class Workshop:
    """A folder with MAIE's code in it, where workers run."""

    def __init__(self, folder: Path) -> None:
        package = folder / "src" / "worker"
        package.mkdir(parents=True)
        (package / "pipeline.py").write_text(PIPELINE)
        self._folder = folder
        self._runs = folder / "runs"

    def runs(self) -> Sequence[Run]:
        """Every run so far, in order."""
        return [json.loads(line) for line in self._runs.read_text().splitlines()] if self._runs.exists() else []

    async def work(self, url: str, *, at_most: int | None = None) -> None:
        """Do what waits, all of it or so many jobs, and rest. The worker ends by itself: one that is told to end may
        leave a job behind that it has taken out of the queue already."""
        limit = () if at_most is None else ("--max-jobs", str(at_most))
        command = (str(Path(sys.executable).with_name("rq")), "worker", "--url", url, "--quiet", "--burst", *limit)
        surroundings = {**os.environ, "RUNS": str(self._runs), "PYTHONPATH": str(self._folder)}
        worker = await asyncio.create_subprocess_exec(*command, cwd=self._folder, env=surroundings)
        assert await worker.wait() == 0
