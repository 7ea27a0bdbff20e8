"""Waiting on the worker: look, decide, sleep. The trigger does the same without blocking its event loop."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from airflow_provider_atai.errors import AtaiError
from airflow_provider_atai.waiting.policy import Ending

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneApi, FineTuneJob, JobMetrics
    from airflow_provider_atai.waiting.result import WaitResult
    from airflow_provider_atai.waiting.watch import JobWatch

# Metrics decide nothing, so nothing waits long for them.
_METRICS_TIMEOUT = 10.0
_LAST_METRICS_ATTEMPTS = 2


class JobReader(Protocol):
    """What waiting needs of a hook."""

    @property
    def fine_tune(self) -> FineTuneApi:
        """The calls on jobs."""

    def forget_connection(self) -> None:
        """Read the connection again at the next call."""

    def close(self) -> None:
        """Close the connections to the service."""


def utcnow() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def look(reader: JobReader, job_id: str) -> FineTuneJob | AtaiError:
    """
    Look at a job once, and return the error instead of raising it.

    Reading the connection is a part of it. The client does not repeat the call: when to look again is the
    policy's decision.
    """
    try:
        return reader.fine_tune.with_options(max_attempts=1).get(job_id)
    except AtaiError as error:
        return error


def read_metrics(reader: JobReader, job_id: str, *, max_attempts: int = 1) -> JobMetrics | None:
    """Return a job's metrics, or None when they cannot be had: they never decide anything."""
    try:
        api = reader.fine_tune.with_options(timeout=_METRICS_TIMEOUT, max_attempts=max_attempts)
        return api.metrics(job_id)
    except AtaiError:
        return None


def wait_for_job(
    reader: JobReader,
    watch: JobWatch,
) -> WaitResult:
    """
    Wait until the job is over, its deadline has passed or it cannot be read for too long.

    :param reader: the hook.
    :param watch: the wait's limits and memory.
    :return: how it ended.
    """
    while (result := poke_job(reader, watch)) is None:
        time.sleep(watch.delay)
    return result


def poke_job(
    reader: JobReader,
    watch: JobWatch,
) -> WaitResult | None:
    """
    Look at the job until there is a usable answer.

    An outage is ridden out within one call, since a rescheduled sensor could not remember when it began.

    :param reader: the hook.
    :param watch: the wait's limits and memory; afterwards its ``delay`` says when to look again.
    :return: how the wait ended, None while the job is active.
    """
    while True:
        seen = look(reader, watch.job_id)
        now = utcnow()
        decision = watch.judge(seen, now)
        if decision.ending is not None:
            return finish(reader, watch, decision.ending)
        if not isinstance(seen, AtaiError):
            if watch.metrics_due(now) and (metrics := read_metrics(reader, watch.job_id)):
                watch.log_metrics(metrics)
            return None
        if decision.reread_connection:
            reader.forget_connection()
        time.sleep(decision.delay)


def finish(reader: JobReader, watch: JobWatch, ending: Ending) -> WaitResult:
    """Return the result of a wait, with the job's last metrics where it ended with something to keep."""
    metrics = None
    if ending in (Ending.COMPLETED, Ending.STOPPED):
        metrics = read_metrics(reader, watch.job_id, max_attempts=_LAST_METRICS_ATTEMPTS)
        if metrics is not None:
            watch.log_metrics(metrics)
    return watch.result(ending, metrics)
