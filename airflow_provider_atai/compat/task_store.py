"""The job that a task has made, as far as the Airflow version can remember it from try to try."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

STORE_KEY = "atai_job"


def remember_job(context: Context, job_id: str) -> None:
    """
    Keep a job's id for the next try, from Airflow 3.3 on.

    A job is found again by its id, which follows from the task and its request, without this. It is for the
    job that a next try with another request no longer asks for.

    :param context: the task's context.
    :param job_id: the job that the task has made or adopted, or is about to make.
    """
    store: Any = context.get("task_state_store")
    if store is not None and store.get(STORE_KEY) != job_id:
        store.set(STORE_KEY, job_id)


def superseded_job(context: Context, ids: Collection[str]) -> str | None:
    """
    Return the job of an earlier try whose request was another one, None where there is none that is known.

    :param context: the task's context.
    :param ids: the ids that the job of this try may have.
    """
    store: Any = context.get("task_state_store")
    kept = None if store is None else store.get(STORE_KEY)
    return kept if isinstance(kept, str) and kept not in ids else None


def pushed_job(context: Context) -> str | None:
    """
    Return the job that an earlier process of this try has pushed as its XCom, None where it has not.

    :param context: the context of a task that goes on after a deferral.
    """
    ti: Any = context["ti"]
    value = ti.xcom_pull(task_ids=ti.task_id, key="return_value", map_indexes=ti.map_index)
    return value if isinstance(value, str) else None
