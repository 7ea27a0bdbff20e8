"""What a task tells the job pages of Airflow's UI about its job, as the XCom ``atai_job``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.printable import printable
from airflow_provider_atai.compat.rendering import normalise_rendered

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob

JOB_RECORD_KEY = "atai_job"

_MOST_DATASETS = 100
_MOST_FILES = 1000


def created_job(task: Any, job: FineTuneJob, *, known_at: datetime) -> dict[str, Any]:
    """
    Return the record of a job that a task has made or adopted.

    :param task: the create operator, whose templates are rendered.
    :param job: the job.
    :param known_at: when the task learned of it.
    """
    model = normalise_rendered(task.model)
    return {
        "job_id": job.id,
        "role": "create",
        "name": printable(task.name),
        "model": None if model is None else printable(model),
        "datasets": _datasets(task.datasets),
        "created_at": None if job.created_at is None else job.created_at.isoformat(),
        "known_at": known_at.isoformat(),
        "waits": task.wait_for_completion,
        "own_id": task.job_id is not None,
        "accept_stopped": task.accept_stopped,
        "reattach": task.reattach,
        "kill_action": task.kill_action,
        "timeout_action": task.timeout_action,
    }


def watched_job(job_id: str, *, accept_stopped: bool, known_at: datetime) -> dict[str, Any]:
    """
    Return the record of a job that the task waits for and does not own.

    :param job_id: the job.
    :param accept_stopped: whether the sensor takes STOPPED for a success.
    :param known_at: when the wait began.
    """
    unknown = ("name", "model", "datasets", "created_at")
    for_creators = ("own_id", "reattach", "kill_action", "timeout_action")
    return {
        "job_id": job_id,
        "role": "wait",
        "known_at": known_at.isoformat(),
        "waits": True,
        "accept_stopped": accept_stopped,
        **dict.fromkeys((*unknown, *for_creators)),
    }


def recorded(record: Mapping[str, Any], *, atai_conn_id: str, ti: Any) -> dict[str, Any]:
    """Return the XCom: a record with the task's connection and try."""
    return {**record, "atai_conn_id": atai_conn_id, "try_number": getattr(ti, "try_number", None)}


def _datasets(datasets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": entry["name"], "split": entry["split"], "file_ids": list(entry["file_ids"])[:_MOST_FILES]}
        for entry in list(datasets)[:_MOST_DATASETS]
    ]
