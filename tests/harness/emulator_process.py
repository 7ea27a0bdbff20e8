"""Runs the emulator as a separate process."""

from __future__ import annotations

import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from airflow_provider_atai.emulator.control import EmulatorControl
from tests.harness.airflow_processes import clean_environment

if TYPE_CHECKING:
    from tests.harness.child_processes import ChildProcesses

TIMEOUT = (5.0, 30.0)


def start_emulator(
    processes: ChildProcesses, data_dir: Path, *, time_scale: float = 1.0, port: int = 0
) -> EmulatorControl:
    """
    Start an emulator with a random API key, and wait until it listens.

    :param data_dir: the folder for its state.
    :param time_scale: how much faster than real time its jobs run.
    :param port: the port that it listens on; 0 for any free port.
    :raises NotInTimeError: if it does not come up, with the end of its log.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    api_key = f"sk_{secrets.token_urlsafe(24)}"
    argv = [
        *(sys.executable, "-m", "airflow_provider_atai.emulator", "--port", str(port)),
        *("--data-dir", str(data_dir), "--time-scale", str(time_scale), "--api-key", api_key),
    ]
    child = processes.start("emulator", argv, clean_environment())

    def announced() -> str | None:
        match = re.search(r"listening on (\S+)", child.log.read_text(errors="replace"))
        return match and match[1]

    base_url = processes.wait_until(announced, "the emulator listens", 60)
    return EmulatorControl(base_url.rpartition("/")[0], api_key=api_key)


def job_metrics(emulator: EmulatorControl, job_id: str) -> list[dict[str, Any]]:
    """Return a job's checkpoints through the public API."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(
            f"{emulator.base_url}/fine-tune/jobs/{job_id}/metrics",
            headers={"Authorization": f"Bearer {emulator.api_key}"},
            timeout=TIMEOUT,
        )
        answer.raise_for_status()
        metrics: list[dict[str, Any]] = answer.json()["metrics"]
        return metrics
