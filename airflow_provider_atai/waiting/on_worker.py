"""The wait in a worker process: poll, decide, sleep. The trigger does the same on its event loop."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from airflow_provider_atai.errors import AtaiError
from airflow_provider_atai.waiting.policy import Ending, WaitLimits, ending_at_deadline
from airflow_provider_atai.waiting.watch import JobWatch

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneApi, FineTuneJob, JobMetrics
    from airflow_provider_atai.waiting.result import WaitResult

# Metrics decide nothing, so no wait is held up long by them.
_METRICS_TIMEOUT = 10.0
LAST_METRICS_ATTEMPTS = 2
# After these there is something to keep, so the last metrics are worth a call.
KEPT_ENDINGS = frozenset({Ending.COMPLETED, Ending.STOPPED})
# Near the deadline no call may take longer than what is left, or Airflow's own timeout would come first. An
# answer needs some seconds even then.
_SHORTEST_CALL = 5.0
_LAST_LOOK_INTERVAL = 5.0
# A last look is repeated for a minute if a service without a usable answer holds up nobody.
LAST_LOOK_TOLERANCE = 60.0


class JobReader(Protocol):
    """What waiting needs from a hook."""

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


def poll(reader: JobReader, job_id: str, *, at_most: float | None = None) -> FineTuneJob | AtaiError:
    """
    Poll a job once, and return an error instead of raising it.

    That includes errors from reading the connection. The client does not retry: the policy decides when the
    next poll is.

    :param at_most: seconds that no timeout of the call exceeds; None: those of the connection.
    """
    try:
        return reader.fine_tune.with_options(max_attempts=1, at_most=at_most).get(job_id)
    except AtaiError as error:
        return error


def read_metrics(
    reader: JobReader, job_id: str, *, max_attempts: int = 1, at_most: float | None = None
) -> JobMetrics | None:
    """Return a job's metrics, None if they cannot be read; ``at_most`` is that of :func:`poll`."""
    try:
        api = reader.fine_tune.with_options(
            timeout=_METRICS_TIMEOUT, at_most=at_most, max_attempts=max_attempts
        )
        return api.metrics(job_id)
    except Exception:
        # Whatever is odd about them, they decide nothing.
        return None


def wait_for_job(reader: JobReader, watch: JobWatch) -> WaitResult:
    """Wait until the job is terminal, its deadline has passed or it could not be read for too long."""
    while (result := poke_job(reader, watch)) is None:
        time.sleep(watch.delay)
    return result


def poke_job(reader: JobReader, watch: JobWatch) -> WaitResult | None:
    """
    Poll the job until there is a usable answer.

    One call rides out a whole outage, because a rescheduled sensor could not remember when it began.

    :param watch: the wait's limits and memory; afterwards its ``delay`` says when the next poll is due.
    :return: how the wait ended, None while the job is active.
    """
    while True:
        seen = poll(reader, watch.job_id, at_most=seconds_for_a_call(watch.limits.deadline, utcnow()))
        now = utcnow()
        decision = watch.judge(seen, now)
        if decision.ending is not None:
            return finish(reader, watch, decision.ending)
        if not isinstance(seen, AtaiError):
            at_most = seconds_for_a_call(watch.limits.deadline, now)
            if watch.metrics_due(now) and (metrics := read_metrics(reader, watch.job_id, at_most=at_most)):
                watch.log_metrics(metrics)
            return None
        if decision.reread_connection:
            reader.forget_connection()
        time.sleep(decision.delay)


def look_for_checkpoint(reader: JobReader, result: WaitResult) -> WaitResult:
    """Return the result with what the metrics tell, if it is unclear whether a stopped job left anything."""
    if result.ending is not Ending.STOPPED or result.has_checkpoint is not None:
        return result
    metrics = read_metrics(reader, result.job_id, max_attempts=LAST_METRICS_ATTEMPTS)
    return result if metrics is None else replace(result, has_checkpoint=metrics.name_a_checkpoint)


def last_look(
    reader: JobReader, job_id: str, *, tolerance: float, known_to_exist: bool, log: logging.Logger
) -> WaitResult:
    """
    Return how a wait ended that Airflow has timed out although nobody may have looked at the job.

    A timeout shows only that no trigger fired, or that a call hung. So it is the job that decides. It has
    timed out if it is active, or cannot be read.

    :param reader: the task's hook.
    :param job_id: the job.
    :param tolerance: for how many seconds the look is repeated if the service gives no usable answer.
    :param known_to_exist: whether the service has shown the job before, so that a 404 is an outage.
    :param log: the task's logger.
    """
    log.warning("Airflow timed out the wait for job %s. The job is looked at once more.", job_id)
    # The timeout may have interrupted a request.
    reader.close()
    limits = WaitLimits(
        poll_interval=_LAST_LOOK_INTERVAL,
        deadline=utcnow() + timedelta(seconds=tolerance),
        outage_tolerance=tolerance,
        known_to_exist=known_to_exist,
    )
    watch = JobWatch(job_id, limits=limits, log=log)
    return poke_job(reader, watch) or watch.result(ending_at_deadline(watch.status))


def seconds_for_a_call(deadline: datetime | None, now: datetime) -> float | None:
    """Return how many seconds a call may take at most, None without a deadline. Pure."""
    return None if deadline is None else max(_SHORTEST_CALL, (deadline - now).total_seconds())


def finish(reader: JobReader, watch: JobWatch, ending: Ending) -> WaitResult:
    """Return the result of a wait, with the last metrics if the job ended with something to keep."""
    metrics = None
    if ending in KEPT_ENDINGS:
        metrics = read_metrics(reader, watch.job_id, max_attempts=LAST_METRICS_ATTEMPTS)
        if metrics is not None:
            watch.log_metrics(metrics)
    return watch.result(ending, metrics)
