"""
Airflow's LocalExecutor, which also counts its worker processes.

A listener could count them too, but Airflow refuses ``end_from_trigger`` if there are listeners.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.executors.local_executor import LocalExecutor

FILE_VARIABLE = "BENCHMARK_WORKERS_FILE"


class CountingExecutor(LocalExecutor):
    """Adds a line to a file for every task, because each task runs in a process of its own."""

    def _process_workloads(self, workloads: Sequence[Any]) -> None:
        with Path(os.environ[FILE_VARIABLE]).open("a") as lines:
            lines.writelines("task\n" for _ in workloads)
        super()._process_workloads(workloads)  # type: ignore[no-untyped-call]
