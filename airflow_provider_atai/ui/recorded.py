"""What a task has recorded of its job, read back from its XComs. Anything may be in them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_atai.api.base_url import is_usable_id
from airflow_provider_atai.waiting.history import JobHistory

_LONGEST_TEXT = 1000
_MOST_DATASETS = 50
_MOST_FILES = 200


@dataclass(frozen=True)
class RecordedJob:
    """
    The record of a job, as :mod:`airflow_provider_atai.jobs.record` makes it, checked.

    :param job_id: the job.
    :param atai_conn_id: the task's connection.
    :param is_owner: whether the task has made or adopted the job, not only waits for it.
    :param name: None if the task does not know it; so are ``model`` and ``created_at``.
    :param datasets: ``name``, ``split`` and ``file_ids`` each.
    :param choices: ``waits``, ``own_id``, ``accept_stopped``, ``reattach``, ``kill_action`` and
        ``timeout_action``, as far as they are known.
    """

    job_id: str
    atai_conn_id: str
    is_owner: bool
    name: str | None = None
    model: str | None = None
    created_at: datetime | None = None
    datasets: list[dict[str, Any]] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)


def recorded_job(value: object) -> RecordedJob | None:
    """Read the XCom ``atai_job``; None if it is not a record of ours."""
    record = _decoded(value)
    if not isinstance(record, Mapping):
        return None
    job_id, conn_id = record.get("job_id"), record.get("atai_conn_id")
    if not is_usable_id(job_id) or not isinstance(conn_id, str) or not conn_id:
        return None
    choices = ("waits", "own_id", "accept_stopped", "reattach")
    actions = ("kill_action", "timeout_action")
    return RecordedJob(
        job_id=str(job_id),
        atai_conn_id=conn_id,
        is_owner=record.get("role") == "create",
        name=_text(record.get("name")),
        model=_text(record.get("model")),
        created_at=_time(record.get("created_at")),
        datasets=datasets_of(record.get("datasets")),
        choices={
            **{key: record[key] for key in choices if isinstance(record.get(key), bool)},
            **{key: record[key] for key in actions if record.get(key) in ("cancel", "stop", "leave")},
        },
    )


def recorded_history(value: object, job_id: str) -> JobHistory:
    """Read the XCom ``atai_statuses``; empty if it is not ours or about another job."""
    return JobHistory(job_id).after(JobHistory.from_json(_decoded(value)))


def datasets_of(value: object) -> list[dict[str, Any]]:
    """Return the datasets of a record or of a job's config, as far as they have the documented shape."""
    entries = value if isinstance(value, list) else []
    return [
        {
            "name": _text(entry.get("name")),
            "split": _text(entry.get("split")),
            "file_ids": [_text(file_id) for file_id in _list(entry.get("file_ids"))[:_MOST_FILES]],
        }
        for entry in entries[:_MOST_DATASETS]
        if isinstance(entry, Mapping)
    ]


def _decoded(value: object) -> object:
    # Airflow has stored text as JSON in some versions and routes, and objects in others.
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.utcoffset() is not None else None
