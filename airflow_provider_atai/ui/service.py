"""The calls to the service, with the task's connection, on the server: the browser never sees the key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.printable import printable
from airflow_provider_atai.errors import (
    AtaiAuthenticationError,
    AtaiConfigurationError,
    AtaiConflictError,
    AtaiError,
    AtaiGatewayRefusalError,
    AtaiNotFoundError,
    AtaiPermissionError,
    RetryableError,
)
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.ui.readings import Readings
from airflow_provider_atai.ui.reduction import ReducedMetrics, reduced

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneApi, FineTuneJob

# A page that waits longer than this looks broken, and the API server has few threads.
_JOB_SECONDS = 4.0
_METRICS_SECONDS = 8.0
_ACTION_SECONDS = 10.0


@dataclass(frozen=True)
class Reading:
    """
    What the service said of a job, or why it said nothing.

    :param state: ``"ok"``, ``"unreachable"``, ``"refused"``, ``"not_found"`` or ``"no_connection"``.
    :param read_at: when the service last showed what this holds, None if never.
    :param detail: a sentence on what went wrong.
    :param job: the job, an earlier answer if this one brought none.
    :param metrics: the same for its metrics.
    :param step_seen_at: when the newest step was first seen here.
    """

    state: str
    read_at: datetime | None = None
    detail: str | None = None
    job: FineTuneJob | None = None
    console_url: str | None = None
    metrics: ReducedMetrics | None = None
    step_seen_at: datetime | None = None


_jobs: Readings[Reading] = Readings(max_age=4.0)
_listed_jobs: Readings[Reading] = Readings(max_age=30.0)
# A finished job does not change any more.
_finished_jobs: Readings[Reading] = Readings(max_age=300.0)
_metrics: Readings[Reading] = Readings(max_age=12.0)


def read_job(conn_id: str, job_id: str, *, is_over: bool = False, listed: bool = False) -> Reading:
    """
    Return what the service says of a job: an answer at most four seconds old.

    :param conn_id: the task's connection.
    :param job_id: the task's job.
    :param is_over: whether the job is known to be terminal, so that an answer of five minutes is as good.
    :param listed: whether it is one of many, for which an answer of half a minute is good enough.
    """
    readings = _finished_jobs if is_over else _listed_jobs if listed else _jobs
    return readings.get((conn_id, job_id), lambda before: _read_job(conn_id, job_id, before))


def read_metrics(conn_id: str, job_id: str, *, is_over: bool = False) -> Reading:
    """Return a job's metrics, reduced: an answer at most twelve seconds old; the arguments are read_job's."""
    key = (conn_id, job_id, is_over)
    return _metrics.get(key, lambda before: _read_metrics(conn_id, job_id, before))


def end_job(conn_id: str, job_id: str, action: str) -> FineTuneJob:
    """
    Stop or cancel a job.

    :param action: ``"stop"`` or ``"cancel"``.
    :raises AtaiError: the service has refused, or it is unclear whether it has done it.
    """
    try:
        with _api(conn_id, _ACTION_SECONDS) as (_, api):
            return api.cancel(job_id) if action == "cancel" else api.stop(job_id)
    finally:
        for readings in (_jobs, _listed_jobs, _finished_jobs):
            readings.forget((conn_id, job_id))


def explain_failed_action(error: AtaiError, action: str) -> tuple[int, str]:
    """Return the HTTP status and the sentence for a job that could not be ended. Pure."""
    said = printable(error)
    if isinstance(error, AtaiConflictError):
        return 409, f"The service does not {action} the job, because it is over or ending already. {said}"
    if isinstance(error, RetryableError):
        return 502, f"It is unclear whether the service will {action} the job. Watch its status. {said}"
    return 502, f"The service did not {action} the job, so it may go on running and billing. {said}"


def _read_job(conn_id: str, job_id: str, before: Reading | None) -> Reading:
    try:
        with _api(conn_id, _JOB_SECONDS) as (hook, api):
            job = api.get(job_id)
            return Reading("ok", datetime.now(UTC), job=job, console_url=hook.console_url(job_id))
    except AtaiError as error:
        return _failed(error, before)


def _read_metrics(conn_id: str, job_id: str, before: Reading | None) -> Reading:
    try:
        with _api(conn_id, _METRICS_SECONDS) as (_, api):
            metrics = reduced(api.metrics(job_id))
    except AtaiError as error:
        return _failed(error, before)
    now = datetime.now(UTC)
    is_same = before is not None and before.metrics and before.metrics.last_step == metrics.last_step
    seen_at = before.step_seen_at if before is not None and is_same else now
    return Reading("ok", now, metrics=metrics, step_seen_at=seen_at)


def _failed(error: AtaiError, before: Reading | None) -> Reading:
    known = before or Reading("unreachable")
    return replace(known, state=_state(error), detail=printable(error))


def _state(error: AtaiError) -> str:
    if isinstance(error, AtaiConfigurationError):
        return "no_connection"
    if isinstance(error, AtaiNotFoundError):
        return "not_found"
    if isinstance(error, AtaiAuthenticationError | AtaiPermissionError | AtaiGatewayRefusalError):
        return "refused"
    return "unreachable"


@contextmanager
def _api(conn_id: str, seconds: float) -> Iterator[tuple[Any, FineTuneApi]]:
    hook = AtaiHook(conn_id)
    try:
        yield hook, hook.fine_tune.with_options(timeout=seconds, at_most=seconds, max_attempts=1)
    finally:
        with suppress(Exception):
            hook.close()
