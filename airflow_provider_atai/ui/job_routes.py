"""The routes of one task's job. Job and connection come from the task instance, never from the caller."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException, Path, Query
from pydantic import BaseModel

from airflow_provider_atai.api.printable import printable
from airflow_provider_atai.errors import AtaiError
from airflow_provider_atai.ui import service, view, words
from airflow_provider_atai.ui.access import EDITS_RUNS, READS_TASKS, audited, may_edit_runs
from airflow_provider_atai.ui.tables import TaskKey, TaskRow, jobs_of_task, read_task

router = APIRouter(prefix="/v1/dags/{dag_id}/runs/{run_id:path}/tasks/{task_id}")

_MOST_EARLIER_JOBS = 6


def task_row(
    dag_id: Annotated[str, Path(max_length=250)],
    run_id: Annotated[str, Path(max_length=250)],
    task_id: Annotated[str, Path(max_length=250)],
    map_index: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
) -> TaskRow:
    """Return the task instance that a path names, or answer 404."""
    row = read_task(TaskKey(dag_id, run_id, task_id, map_index))
    if row is None:
        raise HTTPException(404, "There is no such task instance.")
    return row


TaskRowDep = Annotated[TaskRow, Depends(task_row)]


class SeenJob(BaseModel):
    """The job that a person had before their eyes when they pressed a button."""

    job_id: str


@router.get("/job", dependencies=READS_TASKS)
def get_job(dag_id: str, row: TaskRowDep, user: GetUserDep) -> dict[str, Any]:
    """Return what the job's tab shows."""
    if row.job is None:
        return view.job_page(row, None, may_act=False, now=datetime.now(UTC))
    over = words.is_over(row.history.status)
    reading = service.read_job(row.job.atai_conn_id, row.job.job_id, is_over=over)
    earlier = []
    if not over:
        found = jobs_of_task(dag_id, row.key.task_id, before=None, limit=_MOST_EARLIER_JOBS)
        earlier = [other.history for other in found]
    return view.job_page(
        row,
        reading,
        may_act=may_edit_runs(user, dag_id),
        now=datetime.now(UTC),
        earlier=earlier,
        has_checkpoint=None if reading.job is None else reading.job.has_checkpoint(None),
    )


@router.get("/metrics", dependencies=READS_TASKS)
def get_metrics(row: TaskRowDep) -> dict[str, Any]:
    """Return a job's curves, reduced to what can be drawn."""
    now = datetime.now(UTC)
    if row.job is None:
        return view.metrics_page(None, None, over=True, now=now)
    over = words.is_over(row.history.status)
    reading = service.read_metrics(row.job.atai_conn_id, row.job.job_id, is_over=over)
    return view.metrics_page(row.job.job_id, reading, over=over, now=now)


@router.post("/stop", dependencies=[*audited("atai_fine_tune_stop"), *EDITS_RUNS])
def stop_job(row: TaskRowDep, seen: SeenJob) -> dict[str, Any]:
    """Stop the task's job gracefully."""
    return _end(row, seen, "stop")


@router.post("/cancel", dependencies=[*audited("atai_fine_tune_cancel"), *EDITS_RUNS])
def cancel_job(row: TaskRowDep, seen: SeenJob) -> dict[str, Any]:
    """Cancel the task's job."""
    return _end(row, seen, "cancel")


def _end(row: TaskRow, seen: SeenJob, action: Literal["stop", "cancel"]) -> dict[str, Any]:
    if row.job is None:
        raise HTTPException(404, "This task knows no fine-tune job.")
    job_id = row.job.job_id
    if seen.job_id != job_id:
        raise HTTPException(409, f"The task's job is {job_id} by now. Load the page again.")
    try:
        job = service.end_job(row.job.atai_conn_id, job_id, action)
    except AtaiError as error:
        status, detail = service.explain_failed_action(error, action)
        raise HTTPException(status, detail) from None
    shown = printable(job.status, 64)
    return {"job_id": job_id, "status": shown, "message": f"The service says that the job is {shown}."}
