"""Prints the changes of tasks and jobs during the DAG run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from demo.verdict import describe_record
from tests.harness.emulator_process import job_metrics

if TYPE_CHECKING:
    from airflow_provider_atai.emulator.control import EmulatorControl
    from tests.harness.airflow_api import AirflowApi


class RunWatcher:
    """
    Prints a line for every new task state, job status and checkpoint.

    :param api: Airflow's REST API.
    :param emulator: the controls of the service.
    :param dag_id: the id of the DAG.
    :param run_id: the id of its run.
    """

    def __init__(self, api: AirflowApi, emulator: EmulatorControl, dag_id: str, run_id: str) -> None:
        self._api = api
        self._emulator = emulator
        self._dag_id = dag_id
        self._run_id = run_id
        self._began = time.monotonic()
        self._seen: dict[str, Any] = {}
        self.timeline: list[str] = []

    def poll(self) -> str | None:
        """Print what changed since the last poll; return the run's state once it is terminal."""
        # Read the run's state first, so that the last poll sees every change that led to it.
        state = self._api.run_state(self._dag_id, self._run_id)
        for job in self._emulator.jobs():
            self._show_job(job)
        for task_id, task in self._api.tasks(self._dag_id, self._run_id).items():
            if task["state"] and self._changed(task_id, task["state"]):
                self._say(f"task {task_id:<13} {task['state']}")
        return state if state in ("success", "failed") else None

    def _show_job(self, job: dict[str, Any]) -> None:
        job_id = job["id"]
        metrics = job_metrics(self._emulator, job_id)
        known = self._seen.get(f"metrics of {job_id}", 0)
        for record in metrics[known:]:
            self._say(f"job {job_id}: checkpoint: {describe_record(record)}")
        self._seen[f"metrics of {job_id}"] = len(metrics)
        if self._changed(f"job {job_id}", job["status"]):
            line = f"job {job_id}: {job['status']}"
            self._say(line)
            self.timeline.append(f"{job['updated_at']}  {job['status']}")

    def _changed(self, key: str, value: Any) -> bool:
        changed = bool(self._seen.get(key) != value)
        self._seen[key] = value
        return changed

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)
