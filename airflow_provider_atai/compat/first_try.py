"""When the first try of a sensor began: its timeout counts from there, so that no retry renews it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor

STORE_KEY = "atai_first_try"


def first_try_start(sensor: FineTuneJobSensor, context: Context, now: datetime) -> datetime:
    """
    Return when the first try began, as far as the Airflow version tells.

    A rescheduled sensor is told by Airflow 3; Airflow 2 keeps that time to itself, so there the deadline that
    bounds an outage within one poke counts from the poke, while Airflow's own check between the pokes counts
    from the start. For the other modes Airflow 3.3 and newer have a store that outlives a try. Without one,
    each try counts anew.

    :param sensor: the sensor.
    :param context: the task's context.
    :param now: the time, which is the answer in the first try.
    """
    ti: Any = context["ti"]
    if sensor.reschedule and not sensor.deferrable:
        ask = getattr(ti, "get_first_reschedule_date", None)
        return (ask(context) if ask else None) or now
    store: Any = context.get("task_state_store")
    if store is None or not sensor.retries:
        return now
    # A cleared task starts counting its tries anew, and on Airflow 3.3 it still finds what was stored before.
    first_try = (ti.max_tries or 0) - sensor.retries + 1
    kept = store.get(STORE_KEY)
    if isinstance(kept, dict) and kept.get("try_number") == first_try:
        return datetime.fromisoformat(kept["started"])
    store.set(STORE_KEY, {"try_number": first_try, "started": now.isoformat()})
    return now
