"""The servers that the measured processes poll: the small server and the emulator."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import requests

from benchmarks.processes import Child, module, pin
from benchmarks.server import job_id
from tests.harness.child_processes import ChildProcesses
from tests.harness.emulator_process import start_emulator

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl


class Service(Protocol):
    """What a measurement needs from a server."""

    root_url: str
    api_key: str | None

    def counts(self) -> Counter[str]:
        """Return the number of requests by kind: ``list``, ``get`` for one job, ``metrics``."""

    def seen(self) -> int:
        """Return how many jobs have been polled."""

    def finish(self, first: int, count: int, over: float) -> list[float]:
        """End jobs within ``over`` seconds; return each end as a time of ``time.monotonic``."""


class SmallService:
    """
    The server of :mod:`benchmarks.server`. Use it as a context manager.

    :param jobs: how many jobs it knows.
    :param core: the CPU to run on; None for any.
    """

    api_key: str | None = None

    def __init__(self, jobs: int, *, core: int | None = None) -> None:
        self._child = Child(module("benchmarks.server", "--jobs", jobs), core=core)
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> SmallService:
        self.root_url = f"http://127.0.0.1:{self._child.hear()['port']}"
        return self

    def __exit__(self, *exc: Any) -> None:
        self._child.__exit__(*exc)

    def counts(self) -> Counter[str]:
        return Counter(self._control("state")["counts"])

    def seen(self) -> int:
        return int(self._control("state")["seen"])

    def finish(self, first: int, count: int, over: float) -> list[float]:
        self._control("finish", first=first, count=count, over=over)
        return list(self._control("state")["ends_at"][first : first + count])

    def _control(self, what: str, **fields: float) -> dict[str, Any]:
        answer = self._session.get(f"{self.root_url}/control/{what}", params=fields, timeout=30)
        answer.raise_for_status()
        return dict(answer.json())


class EmulatorService:
    """
    The emulator with one running job per wait. Use it as a context manager.

    It can only end all its jobs at once, by advancing its clock.
    """

    def __init__(self, jobs: int, home: Path, *, core: int | None = None) -> None:
        self._processes = ChildProcesses(home / "logs")
        self._jobs = jobs
        self._home = home
        self._core = core

    def __enter__(self) -> EmulatorService:
        self._processes.__enter__()
        self._control: EmulatorControl = start_emulator(self._processes, self._home / "emulator")
        pin(self._processes.children["emulator"].pid, self._core)
        self.root_url = self._control.root_url
        self.api_key: str | None = self._control.api_key
        self._control.set_life(registered=0, starting=0, running=1e6, finalizing=0)
        self._control.pause()
        create_jobs(self._control, self._jobs)
        self._control.clear_requests()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._processes.__exit__(*exc)

    def counts(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for entry in self._control.requests():
            kind = re.search(r"/fine-tune/jobs(/[^/]+)?(/metrics)?$", entry["path"])
            counts["unknown" if not kind else "metrics" if kind[2] else "get" if kind[1] else "list"] += 1
        return counts

    def seen(self) -> int:
        # The emulator does not track which jobs were polled, so one request counts for all of them.
        return self._jobs if self.counts() else 0

    def finish(self, first: int, count: int, over: float) -> list[float]:
        self._control.advance(1e7)
        return [time.monotonic()] * count


def create_jobs(control: EmulatorControl, count: int) -> None:
    """Create the jobs that the measured triggers wait for."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {control.api_key}"
        uploaded = session.post(
            f"{control.base_url}/files", files={"file": ("train.csv", b"a,b\n1,2\n", "text/csv")}, timeout=30
        )
        uploaded.raise_for_status()
        datasets = [{"name": "training-set", "split": "train", "file_ids": [uploaded.json()["file_id"]]}]
        for index in range(count):
            body = {"name": "benchmark", "id": job_id(index), "config": {"datasets": datasets}}
            session.post(f"{control.base_url}/fine-tune/jobs", json=body, timeout=30).raise_for_status()
