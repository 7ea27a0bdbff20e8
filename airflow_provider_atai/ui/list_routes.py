"""The routes of many jobs: those of a run, of a task's earlier runs, and of all DAGs that a user may read."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, HTTPException, Query

from airflow_provider_atai.ui import service, tables, view, words
from airflow_provider_atai.ui.access import READS_TASKS, SIGNED_IN, readable_dags
from airflow_provider_atai.ui.tables import TaskRow

router = APIRouter(prefix="/v1")

# What a list shows is at most half a minute old, for as many active jobs as this.
_MOST_REFRESHED = 20
_REFRESH_SECONDS = 3.0
_BATCH = 200
_MOST_BATCHES = 10
_refreshing = ThreadPoolExecutor(4, thread_name_prefix="atai-ui")

# A job with a status that is none of these is active.
_STATUSES = {"completed": "COMPLETED", "stopped": "STOPPED", "cancelled": "CANCELLED", "failed": "FAILED"}

Before = Annotated[str | None, Query(max_length=64)]


@router.get("/dags/{dag_id}/jobs", dependencies=READS_TASKS)
def get_jobs_of_dag(
    dag_id: str,
    run_id: Annotated[str | None, Query(max_length=250)] = None,
    task_id: Annotated[str | None, Query(max_length=250)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 5,
    before: Before = None,
) -> dict[str, Any]:
    """Return the jobs of a run, or those of a task in its runs, newest first."""
    if not tables.has_dag(dag_id):
        raise HTTPException(404, "There is no such DAG.")
    if run_id is not None:
        if not tables.has_run(dag_id, run_id):
            raise HTTPException(404, "There is no such run.")
        found = tables.jobs_of_run(dag_id, run_id)
        kept = without_waiters(found)
        cut = kept[:100]
        return {
            "tasks": sorted({row.key.task_id for row in kept}),
            "task_id": None,
            "jobs": _shown(cut),
            "next_before": None,
            "truncated": len(cut) < len(kept),
        }
    tasks = tables.tasks_with_jobs(dag_id)
    chosen = task_id if task_id is not None else (tasks[0] if tasks else None)
    rows = [] if chosen is None else tables.jobs_of_task(dag_id, chosen, before=_time(before), limit=limit)
    return {
        "tasks": tasks,
        "task_id": chosen,
        "jobs": _shown(rows),
        "next_before": _cursor(rows, limit),
        "truncated": False,
    }


@router.get("/jobs", dependencies=SIGNED_IN)
def get_jobs(
    user: GetUserDep,
    state: Annotated[str | None, Query(pattern="^(active|completed|stopped|cancelled|failed)$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    before: Before = None,
) -> dict[str, Any]:
    """Return the jobs of all DAGs that the user may read, newest first."""
    dag_ids = readable_dags(user)
    rows: list[TaskRow] = []
    cursor, more = _time(before), True
    for _ in range(_MOST_BATCHES):
        batch = tables.jobs_of_dags(dag_ids, before=cursor, limit=_BATCH) if dag_ids else []
        more = len(batch) == _BATCH
        rows = without_waiters([*rows, *(row for row in batch if row.job and _has_state(row, state))])
        cursor = batch[-1].recorded_at if batch else cursor
        if not more or len(rows) > limit:
            break
    shown = rows[:limit]
    last = shown[-1].recorded_at if len(rows) > limit else cursor if more else None
    return {"jobs": _shown(shown), "next_before": None if last is None else last.isoformat()}


def without_waiters(rows: Iterable[TaskRow]) -> list[TaskRow]:
    """Leave out the tasks that only wait for a job which another of the rows has created."""
    kept = list(rows)
    created = {row.job.job_id for row in kept if row.job and row.job.is_owner}
    return [row for row in kept if row.job and (row.job.is_owner or row.job.job_id not in created)]


def _has_state(row: TaskRow, state: str | None) -> bool:
    if state is None:
        return True
    if state == "active":
        return not words.is_over(row.history.status)
    return row.history.status == _STATUSES[state]


def _shown(rows: list[TaskRow]) -> list[dict[str, Any]]:
    active = [row for row in rows if row.job and not words.is_over(row.history.status)][:_MOST_REFRESHED]
    asked = {
        row.key: _refreshing.submit(service.read_job, row.job.atai_conn_id, row.job.job_id, listed=True)
        for row in active
        if row.job
    }
    # A service that is slow makes the list older, not slower.
    wait(asked.values(), _REFRESH_SECONDS)
    readings = {key: call.result() for key, call in asked.items() if call.done() and not call.exception()}
    now = datetime.now(UTC)
    return [view.list_row(row, readings.get(row.key), now=now) for row in rows]


def _cursor(rows: list[TaskRow], limit: int) -> str | None:
    last = rows[-1].recorded_at if len(rows) == limit else None
    return None if last is None else last.isoformat()


def _time(before: str | None) -> datetime | None:
    if before is None:
        return None
    try:
        moment = datetime.fromisoformat(before.replace(" ", "+"))
    except ValueError:
        raise HTTPException(422, "before is not a time that an earlier answer has named.") from None
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)
