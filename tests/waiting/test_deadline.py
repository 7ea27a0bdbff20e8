from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pendulum
import pytest

from airflow_provider_atai.waiting.deadline import (
    BACKSTOP_MARGIN,
    backstop,
    interval_of,
    seconds_before_airflow,
    seconds_of,
    wait_deadline,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("created_at", "timeout", "execution_timeout", "expected"),
    [
        (NOW, None, None, None),
        (NOW - HOUR, 7200.0, None, NOW + HOUR),
        (NOW - 3 * HOUR, 7200.0, None, NOW - HOUR),
        (None, 7200.0, None, NOW + 2 * HOUR),
        # A clock that is ahead must not give the job more time.
        (NOW + 5 * HOUR, 7200.0, None, NOW + 2 * HOUR),
        (NOW - 3 * HOUR, None, HOUR, NOW + HOUR - timedelta(seconds=30)),
        (NOW, None, timedelta(seconds=60), NOW + timedelta(seconds=54)),
        (NOW, 60.0, HOUR, NOW + timedelta(seconds=60)),
        (NOW, 7200.0, HOUR, NOW + HOUR - timedelta(seconds=30)),
    ],
)
def test_the_earlier_limit_is_the_deadline(created_at, timeout, execution_timeout, expected):
    deadline = wait_deadline(
        counts_from=created_at,
        started_at=NOW,
        now=NOW,
        timeout=timeout,
        execution_timeout=execution_timeout,
    )
    assert deadline == expected


def test_airflows_timeout_comes_after_our_own_deadline():
    assert backstop(None, NOW) is None
    assert backstop(NOW + HOUR, NOW) == HOUR + BACKSTOP_MARGIN
    assert backstop(NOW - HOUR, NOW) == BACKSTOP_MARGIN


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, None), (5, 5.0), (0.5, 0.5), (timedelta(minutes=2), 120.0)]
)
def test_a_duration_is_returned_in_seconds(value, seconds):
    assert seconds_of(value, "timeout") == seconds


@pytest.mark.parametrize("function", [seconds_of, interval_of])
@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, True, "60", float("nan"), float("inf"), timedelta(), timedelta(seconds=-1), [60]),
        *(timedelta.max, 1e12, 10**400, timedelta(days=365, seconds=1)),
    ],
)
def test_a_value_that_is_not_a_duration_is_refused_by_name(value, function):
    says = "poll_interval must be a positive number of seconds or a timedelta, at most 365 days, not"
    with pytest.raises(ValueError, match=says):
        function(value, "poll_interval")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0.01, 1.0), (1, 1.0), (timedelta(minutes=2), 120.0), (timedelta(days=365), 31536000)],
)
def test_an_interval_is_at_least_a_second(value, seconds):
    assert interval_of(value, "poll_interval") == seconds


def test_an_interval_cannot_be_left_out():
    with pytest.raises(ValueError, match=r"poll_interval must be .* not None"):
        interval_of(None, "poll_interval")


@pytest.mark.parametrize("execution_timeout", [None, 2 * HOUR, HOUR + timedelta(minutes=1), HOUR, HOUR / 2])
def test_a_wait_started_by_the_scheduler_ends_at_the_same_time_as_one_started_by_a_worker(execution_timeout):
    ours = wait_deadline(
        counts_from=NOW, started_at=NOW, now=NOW, timeout=3600, execution_timeout=execution_timeout
    )
    airflows = NOW + HOUR + BACKSTOP_MARGIN
    if execution_timeout is not None:
        airflows = min(airflows, NOW + execution_timeout)
    lead = seconds_before_airflow(timeout=3600, execution_timeout=execution_timeout)
    assert lead > 0
    assert airflows - timedelta(seconds=lead) == ours


def test_times_are_plain_even_if_those_of_the_service_are_pendulums():
    # Airflow's supervisor cannot send pendulum's subclasses, so the deferral would fail.
    created_at = pendulum.DateTime(2026, 11, 23, 11, 0, tzinfo=pendulum.UTC)
    deadline = wait_deadline(
        counts_from=created_at, started_at=created_at, now=NOW, timeout=7200, execution_timeout=2 * HOUR
    )
    assert type(deadline) is datetime
    assert deadline == NOW + HOUR - timedelta(seconds=30)
    assert type(backstop(created_at, NOW)) is timedelta
    assert type(backstop(deadline, created_at)) is timedelta
