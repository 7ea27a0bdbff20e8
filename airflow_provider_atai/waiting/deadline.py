"""When a wait gives up, as an absolute time. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_provider_atai.waiting.policy import SHORTEST_INTERVAL

# While a worker runs the task, Airflow enforces execution_timeout itself, and in its own way. Our deadline
# comes a little earlier, so that the job gets what the DAG author chose for it.
_HEAD_START = timedelta(seconds=30)
_HEAD_START_SHARE = 0.1
# Airflow's own timeout of a deferred task comes this much later. It is needed only if ours never fires.
BACKSTOP_MARGIN = timedelta(minutes=5)
# Far more than any wait needs, and far less than what overflows a date or a column of Airflow's database.
LONGEST_SECONDS = timedelta(days=365).total_seconds()


def seconds_of(value: object, argument: str) -> float | None:
    """
    Return a duration in seconds.

    :param value: seconds or a timedelta; None stays None.
    :param argument: the argument's name, for the message.
    :raises ValueError: the value is not a positive duration of at most 365 days.
    """
    return None if value is None else _seconds(value, argument)


def interval_of(value: object, argument: str) -> float:
    """
    Return an interval between polls in seconds; one shorter than a second counts as a second.

    :param value: seconds or a timedelta.
    :param argument: the argument's name, for the message.
    :raises ValueError: the value is not a positive duration of at most 365 days.
    """
    return max(_seconds(value, argument), SHORTEST_INTERVAL)


def wait_deadline(
    *,
    counts_from: datetime | None,
    started_at: datetime | None,
    now: datetime,
    timeout: float | None,
    execution_timeout: timedelta | None,
) -> datetime | None:
    """
    Return when a task gives up waiting.

    :param counts_from: when ``timeout`` begins, so that no retry renews it: the job's creation for the task
        that owns the job, the start of the first try for a sensor. None counts as now, and so does a time in
        the future, which comes from a wrong clock.
    :param started_at: when this try began, which is when ``execution_timeout`` begins. None counts as now;
        ``dag.test()`` on Airflow 2 has no such time.
    :param now: the time.
    :param timeout: seconds, None for no limit.
    :param execution_timeout: Airflow's limit for the try, which Airflow does not enforce while a task is
        deferred (apache/airflow#69678).
    :return: the earlier of the two, None without a limit.
    """
    limits = []
    if timeout is not None:
        limits.append(min(counts_from or now, now) + timedelta(seconds=timeout))
    if execution_timeout is not None:
        limits.append((started_at or now) + execution_timeout - _head_start(execution_timeout))
    # The service's times are pendulum's, and Airflow's processes cannot send those to one another.
    return datetime.fromtimestamp(min(limits).timestamp(), UTC) if limits else None


def seconds_before_airflow(*, timeout: float, execution_timeout: timedelta | None) -> float:
    """
    Return how long before Airflow's own timeout of a deferral the wait gives up.

    This is for a task that the scheduler defers. At parse time nobody knows when that will happen, but
    Airflow tells the trigger when its own timeout is: :data:`BACKSTOP_MARGIN` after ours, or at the task's
    ``execution_timeout`` if that comes first.

    :param timeout: seconds that the wait may take.
    :param execution_timeout: Airflow's limit for the try.
    """
    ours, airflows = timedelta(seconds=timeout), timedelta(seconds=timeout) + BACKSTOP_MARGIN
    if execution_timeout is not None:
        ours = min(ours, execution_timeout - _head_start(execution_timeout))
        airflows = min(airflows, execution_timeout)
    return (airflows - ours).total_seconds()


def backstop(deadline: datetime | None, now: datetime) -> timedelta | None:
    """Return the timeout to give to Airflow when deferring, None without a deadline."""
    if deadline is None:
        return None
    return timedelta(seconds=max(0.0, (deadline - now).total_seconds())) + BACKSTOP_MARGIN


def _seconds(value: object, argument: str) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if (
        not isinstance(seconds, int | float)
        or isinstance(seconds, bool)
        or not 0 < seconds <= LONGEST_SECONDS
    ):
        raise ValueError(
            f"{argument} must be a positive number of seconds or a timedelta, at most 365 days, "
            f"not {value!r}."
        )
    return float(seconds)


def _head_start(limit: timedelta) -> timedelta:
    return min(_HEAD_START, limit * _HEAD_START_SHARE)
