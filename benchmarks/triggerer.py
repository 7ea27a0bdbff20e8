"""
Measure what waiting costs in a real triggerer, with all of Airflow's processes and a metadata database.

    .venv/benchmarks/bin/python -m benchmarks.triggerer [--sensors 1000] [--modes trigger worker]

In the mode ``worker``, one worker process starts and defers the sensor, and another one ends it. In the mode
``trigger`` (``start_from_trigger`` and ``end_from_trigger``), no worker runs the sensor. See README.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks import postgres, report
from benchmarks.counting_executor import FILE_VARIABLE
from benchmarks.processes import REPOSITORY
from benchmarks.server import job_id
from benchmarks.services import SmallService
from benchmarks.subjects import SUBJECTS, connection_variable
from tests.harness.airflow_processes import AirflowProcesses
from tests.harness.child_processes import ChildProcesses

if TYPE_CHECKING:
    from tests.harness.airflow_api import AirflowApi

INTERVAL = 10
POLL_SECONDS = 1.0
# Airflow's watchdog sleeps 100 ms, and reports if it wakes after more than the threshold.
WATCHDOG_SLEEP, WATCHDOG_THRESHOLD = 0.1, 0.12
MODES = {
    "trigger": {"start_from_trigger": True, "end_from_trigger": True},
    "start": {"start_from_trigger": True},
    "worker": {"deferrable": True},
}

DAG_FILE = """
from airflow.sdk import DAG

from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor

for number, job_ids in enumerate({job_ids!r}):
    with DAG(f"waits_{{number}}", schedule=None, max_active_tasks=10_000):
        for job_id in job_ids:
            FineTuneJobSensor(
                task_id=f"wait_{{job_id}}",
                job_id=job_id,
                atai_conn_id="benchmark",
                poke_interval={interval},
                **{arguments!r},
            )
"""


@dataclass
class Usage:
    """The triggerer's CPU seconds per second, and its memory in bytes that no other process shares."""

    cpu: float
    memory: int


@dataclass
class Measured:
    """The results of one mode. Times are in seconds."""

    waiting: float
    idle: Usage
    steady: Usage
    requests: float
    blocked: list[float]
    left: float
    ended: float
    workers: int


class Triggerer:
    """A running Airflow with the sensors of one mode and a service to poll."""

    def __init__(self, stack: ExitStack, options: argparse.Namespace, mode: str) -> None:
        self.count: int = options.sensors
        self._options = options
        self._home = Path(tempfile.mkdtemp(prefix="atai-benchmark-"))
        stack.callback(shutil.rmtree, self._home, ignore_errors=True)
        data = Path(tempfile.mkdtemp(prefix="atai-benchmark-postgres-"))
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        self.service = stack.enter_context(SmallService(self.count))
        self._processes = stack.enter_context(ChildProcesses(self._home / "logs"))
        self._workers = self._home / "workers"
        self._write(mode)
        self._airflow = AirflowProcesses(
            self._processes,
            self._home / "airflow",
            self._home / "dags",
            self._settings(),
            database=postgres.start(self._processes, data) if options.database == "postgresql" else "",
        )
        self.api: AirflowApi = self._airflow.start()

    def _write(self, mode: str) -> None:
        ids = [job_id(index) for index in range(self.count)]
        size: int = self._options.tasks_per_dag
        self._groups = [ids[first : first + size] for first in range(0, self.count, size)]
        (self._home / "dags").mkdir()
        (self._home / "dags/waits.py").write_text(
            DAG_FILE.format(job_ids=self._groups, interval=INTERVAL, arguments=MODES[mode])
        )

    def _settings(self) -> dict[str, str]:
        return {
            **connection_variable(SUBJECTS["atai"], self.service.root_url),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONPYCACHEPREFIX": str(REPOSITORY / ".cache/pycache"),
            "PYTHONDONTWRITEBYTECODE": "",
            FILE_VARIABLE: str(self._workers),
            "AIRFLOW__CORE__EXECUTOR": "benchmarks.counting_executor.CountingExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(self._options.parallelism),
            "AIRFLOW__TRIGGERER__BLOCKED_MAIN_THREAD_WARNING_THRESHOLD": str(WATCHDOG_THRESHOLD),
            "AIRFLOW__TRIGGERER__CAPACITY": str(max(1000, self.count)),
        }

    def begin(self) -> None:
        """Trigger the runs as soon as Airflow knows the DAGs."""
        names = [f"waits_{number}" for number in range(len(self._groups))]
        self.wait(lambda: self._knows(len(names)), "Airflow knows the DAGs")
        for name in names:
            self.api.unpause(name)
            self.api.trigger(name)

    def _knows(self, count: int) -> bool:
        errors = self.api.import_errors()
        if errors:
            raise RuntimeError(errors[0]["stack_trace"])
        return int(self.api.request("GET", "dags", params={"limit": 1})["total_entries"]) == count

    def tasks(self, state: str) -> int:
        """Return how many sensors are in the given state."""
        path = ("dags", "~", "dagRuns", "~", "taskInstances")
        answer = self.api.request("GET", *path, params={"state": state, "limit": 1})
        return int(answer["total_entries"])

    def wait(self, condition: Callable[[], bool], what: str) -> float:
        """Wait until a condition is true, and return how many seconds it took."""

        def poll() -> bool:
            time.sleep(POLL_SECONDS)
            return condition()

        began = time.monotonic()
        self._processes.wait_until(poll, what, self._options.patience)
        return time.monotonic() - began

    def usage(self, seconds: float) -> Usage:
        """Measure the triggerer for a while: the supervisor and its child with the event loop."""
        triggerer = psutil.Process(self._processes.children["triggerer"].pid)
        family = [triggerer, *triggerer.children(recursive=True)]
        began, before = time.monotonic(), _cpu(family)
        time.sleep(seconds)
        cpu = (_cpu(family) - before) / (time.monotonic() - began)
        return Usage(cpu, sum(process.memory_full_info().uss for process in family))

    def blocked(self) -> list[float]:
        """Return how many seconds late the event loop was, for each report of the watchdog."""
        log = (self._home / "logs/triggerer.log").read_text(errors="replace")
        return [float(found) - WATCHDOG_SLEEP for found in re.findall(r"blocked for ([\d.]+) seconds", log)]

    def workers(self) -> int:
        """Return how many worker processes have run."""
        return len(self._workers.read_text().splitlines()) if self._workers.exists() else 0


def measure(options: argparse.Namespace, mode: str) -> Measured:
    """Start all sensors of one mode, measure them while they wait, and end them."""
    with ExitStack() as stack:
        one = Triggerer(stack, options, mode)
        idle = one.usage(options.window / 2)
        one.begin()
        waiting = one.wait(
            lambda: one.tasks("deferred") == one.count and one.service.seen() == one.count, "all sensors wait"
        )
        time.sleep(2 * INTERVAL)
        counts, blocked = one.service.counts(), len(one.blocked())
        steady = one.usage(options.window)
        requests = (one.service.counts() - counts).total() * 60 / options.window
        late = one.blocked()[blocked:]
        one.service.finish(0, one.count, 0)
        left = one.wait(lambda: one.tasks("deferred") == 0, "no sensor is deferred")
        ended = left + one.wait(lambda: one.tasks("success") == one.count, "all sensors have succeeded")
        return Measured(waiting, idle, steady, requests, late, left, ended, one.workers())


def _cpu(family: list[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in family))


HEADER = (
    *(
        "mode",
        "all wait s",
        "requests/min",
        "CPU ms/job/min",
        "MB over idle",
        "loop late >20 ms",
        "longest ms",
    ),
    *("none waits s", "all ended s", "worker processes", "per wait"),
)


def row(name: str, count: int, one: Measured) -> list[str]:
    return [
        name,
        f"{one.waiting:.0f}",
        f"{one.requests:.0f}",
        f"{(one.steady.cpu - one.idle.cpu) * 60 / count * 1e3:.3f}",
        report.megabytes(one.steady.memory - one.idle.memory),
        str(len(one.blocked)),
        f"{max(one.blocked, default=0) * 1e3:.0f}",
        f"{one.left:.0f}",
        f"{one.ended:.0f}",
        str(one.workers),
        f"{one.workers / count:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.triggerer", description=__doc__)
    parser.add_argument("--sensors", type=int, default=1000, help="sensors in each mode (default: 1000)")
    parser.add_argument("--tasks-per-dag", type=int, default=10, help="sensors in a DAG (default: 10)")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["trigger", "worker"])
    parser.add_argument("--window", type=float, default=60, help="seconds of the steady state (default: 60)")
    parser.add_argument("--parallelism", type=int, default=4, help="worker processes at once (default: 4)")
    parser.add_argument("--patience", type=float, default=3600, help="seconds for each step (default: 3600)")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), help="PostgreSQL if installed")
    options = parser.parse_args()
    options.database = options.database or ("postgresql" if postgres.available() else "sqlite")
    print(report.machine())
    print(
        f"{options.sensors} sensors, {options.tasks_per_dag} in a DAG, polling every {INTERVAL} s, "
        f"window of {options.window:g} s; "
        f"{options.database}; at most {options.parallelism} workers at once, "
        f"on {os.cpu_count()} cores shared with all other processes\n",
        flush=True,
    )
    rows = []
    for mode in options.modes:
        measured = measure(options, mode)
        rows.append(row(mode, options.sensors, measured))
        print(
            f"{mode}: the idle triggerer used {measured.idle.cpu * 60:.1f} s CPU a minute and "
            f"{report.megabytes(measured.idle.memory)} MB, the waiting one {measured.steady.cpu * 60:.1f} s "
            f"and {report.megabytes(measured.steady.memory)} MB",
            flush=True,
        )
    print(f"\n{report.table(HEADER, rows)}")


if __name__ == "__main__":
    main()
