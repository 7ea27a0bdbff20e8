"""Checks the outcome of the demo's DAG run, and prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

TASKS = ("find_files", "upload_train", "upload_eval", "fine_tune", "wait", "hand_over")


@dataclass(frozen=True)
class Outcome:
    """
    Everything that can be seen after the DAG run.

    :param run_state: the DAG run's state.
    :param tasks: task id to task instance, as Airflow's REST API shows it.
    :param jobs: all jobs of the service.
    :param files: all files of the service.
    :param summary: XCom of the waiting task, or None.
    :param handed_over: XCom of the last task, the path of the inference config, or None.
    """

    run_state: str
    tasks: Mapping[str, Mapping[str, Any]]
    jobs: Sequence[Mapping[str, Any]]
    files: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any] | None
    handed_over: str | None


def problems(outcome: Outcome) -> list[str]:
    """Return every difference from the expected outcome."""
    found = [
        f"task {task} is {outcome.tasks.get(task, {}).get('state')}, not success"
        for task in TASKS
        if outcome.tasks.get(task, {}).get("state") != "success"
    ]
    if outcome.run_state != "success":
        found.append(f"the DAG run is {outcome.run_state}, not success")
    if len(outcome.files) != 2:
        found.append(f"the service has {len(outcome.files)} files, not 2")
    if len(outcome.jobs) != 1:
        return [*found, f"the service has {len(outcome.jobs)} jobs, not 1"]
    job = outcome.jobs[0]
    summary = outcome.summary or {}
    if job["status"] != "COMPLETED":
        found.append(f"the job is {job['status']}, not COMPLETED")
    if not job["inference_config_path"]:
        found.append("the job has no inference config")
    if not summary.get("metrics"):
        found.append("the waiting task returned no metrics")
    for what, here, there in (
        ("job id", job["id"], summary.get("job_id")),
        ("status", job["status"], summary.get("status")),
        ("inference config", job["inference_config_path"], summary.get("inference_config_path")),
        ("inference config handed over", job["inference_config_path"], outcome.handed_over),
    ):
        if here != there:
            found.append(f"the {what} is {here} in the service but {there} in the XComs")
    return found


def task_table(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of the tasks in the order of their start."""
    rows = [("task", "state", "tries", "seconds")]
    for task_id, task in sorted(tasks.items(), key=lambda item: item[1].get("start_date") or "~"):
        rows.append((task_id, str(task["state"]), str(task["try_number"]), _seconds(task)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def describe_record(record: Mapping[str, Any]) -> str:
    """Return a metrics record with any keys as one line."""
    return ", ".join(f"{key} {value}" for key, value in record.items())


def _seconds(task: Mapping[str, Any]) -> str:
    start, end = task.get("start_date"), task.get("end_date")
    if not start or not end:
        return "-"
    return f"{(datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds():.1f}"
