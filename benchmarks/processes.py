"""Child processes that take orders as lines of JSON and end with the block that started them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.harness.airflow_processes import clean_environment

REPOSITORY = Path(__file__).resolve().parent.parent


class Child:
    """
    A child process. Use it as a context manager.

    :param argv: the command line; modules are found from the repository's root.
    :param core: the CPU to run on; None for any.
    :param environment: variables to add to a clean environment.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        core: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._popen = subprocess.Popen(
            [str(argument) for argument in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=environment_of_child(**(environment or {})),
        )
        pin(self._popen.pid, core)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._popen.kill()
        self._popen.communicate()

    def tell(self, **order: Any) -> None:
        """Send an order."""
        print(json.dumps(order), file=self._popen.stdin, flush=True)

    def hear(self) -> dict[str, Any]:
        """
        Return the next response.

        :raises RuntimeError: if the process has ended.
        """
        line = self._popen.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"{self._popen.args!r} ended with status {self._popen.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **order: Any) -> dict[str, Any]:
        """Send an order and return the response."""
        self.tell(**order)
        return self.hear()


def environment_of_child(**more: str) -> dict[str, str]:
    """Return a measured process's environment: no foreign settings, a cache for bytecode."""
    environment = clean_environment(
        PYTHONPATH=str(REPOSITORY), PYTHONPYCACHEPREFIX=str(REPOSITORY / ".cache/pycache"), **more
    )
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def module(name: str, *arguments: object, python: Path | str = sys.executable) -> list[str]:
    """Return the command line that runs a module."""
    return [str(python), "-m", name, *(str(argument) for argument in arguments)]


def pin(pid: int, core: int | None) -> None:
    """Keep a process on one CPU, if the system can do that and has several."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if core is not None and cores > 1:
        psutil.Process(pid).cpu_affinity([sorted(os.sched_getaffinity(0))[core % cores]])
