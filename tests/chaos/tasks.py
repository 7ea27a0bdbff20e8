"""The tasks of a life, as the author of its DAG wrote them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.operators.fine_tune import CancelFineTuneJobOperator, CreateFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from tests.chaos.kills import OWNER

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import BaseOperator
    from tests.chaos.plan import Plan


def name_of(plan: Plan) -> str:
    """Return the name that the author gives the job."""
    return f"life {plan.seed}"


def creator(plan: Plan, dataset: dict[str, Any], *, changes: int) -> BaseOperator:
    """Return the task that creates the job. ``changes`` is how often its request has changed."""
    limit = plan.execution_timeout
    own_id, again = plan.own_job_id, " again" * changes
    return CreateFineTuneJobOperator(
        task_id=OWNER,
        name=name_of(plan) + (again if own_id is None else ""),
        datasets=[dataset],
        job_id=own_id and own_id + again.replace(" ", "-"),
        wait_for_completion=plan.shape in ("worker", "triggerer"),
        deferrable=plan.shape == "triggerer",
        execution_timeout=None if limit is None else timedelta(seconds=limit),
        **plan.operator,
    )


def sensor(plan: Plan, job_id: str) -> BaseOperator:
    """Return the task that only waits."""
    return FineTuneJobSensor(
        task_id="wait",
        job_id=job_id,
        mode="reschedule" if plan.shape == "reschedule" else "poke",
        deferrable=plan.shape == "deferred sensor",
        start_from_trigger=plan.shape == "sensor without workers",
        end_from_trigger=plan.shape == "sensor without workers",
        **plan.sensor,
    )


def canceller(job_id: str) -> BaseOperator:
    """Return the task that cancels the job at the end."""
    return CancelFineTuneJobOperator(task_id="tidy", job_id=job_id)
