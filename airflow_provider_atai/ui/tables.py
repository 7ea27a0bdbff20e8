"""What the pages read from Airflow's database: task instances, and the XComs that record their jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, select
from sqlalchemy.orm import aliased

from airflow_provider_atai.jobs.record import JOB_RECORD_KEY
from airflow_provider_atai.ui.recorded import RecordedJob, recorded_history, recorded_job
from airflow_provider_atai.waiting.history import STATUSES_KEY, JobHistory

# A run of a large sweep has as many tasks.
MOST_ROWS = 1000


@dataclass(frozen=True)
class TaskKey:
    """Names a task instance; ``map_index`` is -1 if it is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


@dataclass(frozen=True)
class TaskRow:
    """
    A task instance and what it has recorded.

    :param job: None if it knows no job, or its record cannot be read.
    :param history: empty without a job.
    :param recorded_at: when the job was recorded.
    """

    key: TaskKey
    state: str | None
    try_number: int
    max_tries: int
    start_date: datetime | None
    end_date: datetime | None
    job: RecordedJob | None
    history: JobHistory
    recorded_at: datetime | None

    @property
    def has_ended(self) -> bool:
        """Whether Airflow is through with the task."""
        return self.state in ("success", "failed", "skipped", "removed", "upstream_failed")


_Job = aliased(XComModel)
_Statuses = aliased(XComModel)


def _of(xcom: Any, key: str) -> Any:
    same = [getattr(xcom, name) == getattr(TaskInstance, name) for name in ("dag_id", "run_id", "task_id")]
    return and_(*same, xcom.map_index == TaskInstance.map_index, xcom.key == key)


def _rows(*, only_with_job: bool) -> Any:
    columns = ("dag_id", "run_id", "task_id", "map_index", "state", "try_number", "max_tries")
    return (
        select(
            *(getattr(TaskInstance, name) for name in (*columns, "start_date", "end_date")),
            _Job.value.label("job"),
            _Job.timestamp.label("recorded_at"),
            _Statuses.value.label("statuses"),
        )
        .select_from(TaskInstance)
        .join(_Job, _of(_Job, JOB_RECORD_KEY), isouter=not only_with_job)
        .join(_Statuses, _of(_Statuses, STATUSES_KEY), isouter=True)
    )


def read_task(key: TaskKey) -> TaskRow | None:
    """Return a task instance, None if there is none."""
    query = _rows(only_with_job=False).where(
        TaskInstance.dag_id == key.dag_id,
        TaskInstance.run_id == key.run_id,
        TaskInstance.task_id == key.task_id,
        TaskInstance.map_index == key.map_index,
    )
    found = _read(query)
    return found[0] if found else None


def jobs_of_run(dag_id: str, run_id: str) -> list[TaskRow]:
    """Return the tasks of a run that know a job, in the order of their names and indexes."""
    query = (
        _rows(only_with_job=True)
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        .order_by(TaskInstance.task_id, TaskInstance.map_index)
        .limit(MOST_ROWS)
    )
    return _with_job(_read(query))


def jobs_of_task(dag_id: str, task_id: str, *, before: datetime | None, limit: int) -> list[TaskRow]:
    """Return what a task has recorded in its runs, newest first."""
    query = _rows(only_with_job=True).where(TaskInstance.dag_id == dag_id, TaskInstance.task_id == task_id)
    return _with_job(_read(_newest_first(query, before, limit)))


def jobs_of_dags(dag_ids: Iterable[str], *, before: datetime | None, limit: int) -> list[TaskRow]:
    """Return what the tasks of some DAGs have recorded, newest first; records that cannot be read too."""
    query = _rows(only_with_job=True).where(TaskInstance.dag_id.in_(sorted(dag_ids)))
    return _read(_newest_first(query, before, limit))


def tasks_with_jobs(dag_id: str) -> list[str]:
    """Return the tasks of a DAG that have recorded a job in any run."""
    query = select(XComModel.task_id).where(XComModel.key == JOB_RECORD_KEY, XComModel.dag_id == dag_id)
    with create_session() as session:
        return sorted(session.scalars(query.distinct()))


def has_run(dag_id: str, run_id: str) -> bool:
    """Tell whether there is such a run, with tasks."""
    query = select(TaskInstance.task_id).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    with create_session() as session:
        return session.scalars(query.limit(1)).first() is not None


def has_dag(dag_id: str) -> bool:
    """Tell whether Airflow knows a DAG."""
    from airflow.models.dag import DagModel

    with create_session() as session:
        query = select(DagModel.dag_id).where(DagModel.dag_id == dag_id)
        return session.scalars(query).first() is not None


def _newest_first(query: Any, before: datetime | None, limit: int) -> Any:
    if before is not None:
        query = query.where(_Job.timestamp < before)
    return query.order_by(_Job.timestamp.desc()).limit(limit)


def _read(query: Any) -> list[TaskRow]:
    with create_session() as session:
        return [_row(found) for found in session.execute(query)]


def _row(found: Any) -> TaskRow:
    job = recorded_job(found.job)
    return TaskRow(
        key=TaskKey(found.dag_id, found.run_id, found.task_id, found.map_index),
        state=None if found.state is None else str(getattr(found.state, "value", found.state)),
        try_number=found.try_number or 0,
        max_tries=found.max_tries or 0,
        start_date=found.start_date,
        end_date=found.end_date,
        job=job,
        history=recorded_history(found.statuses, job.job_id if job else ""),
        recorded_at=found.recorded_at,
    )


def _with_job(rows: list[TaskRow]) -> list[TaskRow]:
    return [row for row in rows if row.job is not None]
