"""What outlives a try of a task, as far as the Airflow version can keep it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import Context

JOB_KEY = "atai_job"
FIRST_TRY_KEY = "atai_first_try"
HISTORY_KEY = "atai_statuses"


def remember_job(context: Context, job: Mapping[str, Any]) -> bool:
    """
    Keep what is known of a task's job for the next try, from Airflow 3.3 on.

    A next try with the same request finds its job without this: the id follows from the task and the request.
    This is for a next try whose request has changed, and for a service that gives the job another id.

    :param job: JSON types.
    :return: whether this Airflow keeps it.
    """
    store: Any = context.get("task_state_store")
    if store is None:
        return False
    if store.get(JOB_KEY) != job:
        store.set(JOB_KEY, dict(job))
    return True


def kept_job(context: Context) -> dict[str, Any] | None:
    """Return what :func:`remember_job` kept last, in this try or an earlier one; None if that is nothing."""
    store: Any = context.get("task_state_store")
    kept = None if store is None else store.get(JOB_KEY)
    return kept if isinstance(kept, dict) else None


def keep_history(context: Context, history: Mapping[str, Any]) -> None:
    """Keep what was seen of the job for the next process of the task, from Airflow 3.3 on; JSON types."""
    store: Any = context.get("task_state_store")
    if store is not None:
        store.set(HISTORY_KEY, dict(history))


def kept_history(context: Context) -> Any:
    """
    Return what earlier processes of the task have seen of its job, None if Airflow keeps nothing.

    The XCom outlives a deferral, but not a retry or a reschedule: Airflow clears it when the task starts.
    """
    ti: Any = context["ti"]
    pushed = ti.xcom_pull(task_ids=ti.task_id, key=HISTORY_KEY, map_indexes=ti.map_index)
    store: Any = context.get("task_state_store")
    return pushed or (None if store is None else store.get(HISTORY_KEY))


def pushed_job(context: Context) -> str | None:
    """Return the job that an earlier process of this try has pushed as its XCom, None if it has not."""
    ti: Any = context["ti"]
    value = ti.xcom_pull(task_ids=ti.task_id, key="return_value", map_indexes=ti.map_index)
    return value if isinstance(value, str) else None


def first_try_start(context: Context, now: datetime, *, retries: int | None, reschedules: bool) -> datetime:
    """
    Return when the first try of a sensor began, so that no retry renews its timeout.

    Airflow 3 tells a rescheduled sensor. Airflow 2 does not: there the deadline that bounds an outage within
    one poke counts from the poke, and Airflow's own check between the pokes counts from the start. In the
    other modes, the store of Airflow 3.3 outlives a try. Without one, each try counts anew.

    :param context: the sensor's context.
    :param now: the time, which is the answer in the first try.
    :param retries: the sensor's retries.
    :param reschedules: whether the sensor is rescheduled between its pokes.
    """
    ti: Any = context["ti"]
    if reschedules:
        ask = getattr(ti, "get_first_reschedule_date", None)
        return (ask(context) if ask else None) or now
    store: Any = context.get("task_state_store")
    if store is None or not retries:
        return now
    # A cleared task counts its tries anew. On Airflow 3.3 it still finds what was stored before.
    first_try = (ti.max_tries or 0) - retries + 1
    kept = store.get(FIRST_TRY_KEY)
    if isinstance(kept, dict) and kept.get("try_number") == first_try:
        return datetime.fromisoformat(kept["started"])
    store.set(FIRST_TRY_KEY, {"try_number": first_try, "started": now.isoformat()})
    return now
