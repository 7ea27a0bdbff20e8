from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_atai.api.fine_tune import ACTIVE_STATUSES, FineTuneJob
from airflow_provider_atai.errors import (
    AtaiConnectionError,
    AtaiResponseError,
    error_class,
)
from airflow_provider_atai.waiting.policy import (
    Ending,
    WaitLimits,
    WaitState,
    decide,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIMITS = WaitLimits(poll_interval=60, deadline=NOW + timedelta(hours=1), outage_tolerance=1800)


def job(status, *, path="s3://bucket/config.yaml", updated=timedelta()):
    return FineTuneJob(
        id="job-1", name="job", status=status, updated_at=NOW - updated, inference_config_path=path
    )


def http_error(status, retry_after=None, *, is_api_answer=True):
    return error_class(status, is_api_answer=is_api_answer)(
        status_code=status, method="GET", path="/v0.5/fine-tune/jobs/job-1", retry_after=retry_after
    )


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        ("COMPLETED", Ending.COMPLETED),
        ("STOPPED", Ending.STOPPED),
        ("CANCELLED", Ending.CANCELLED),
        ("FAILED", Ending.FAILED),
        *((status, None) for status in (*ACTIVE_STATUSES, "PAUSED", "completed", "SUCCEEDED")),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_each_status_has_its_ending(status, ending, late):
    now = NOW + timedelta(hours=2) if late else NOW
    decision = decide(job(status), state=WaitState(), limits=LIMITS, now=now)

    # A terminal status counts even past the deadline: nothing is left to time out.
    assert decision.ending == (ending or (Ending.TIMED_OUT if late else None))
    assert decision.state.status == status


@pytest.mark.parametrize(
    ("updated", "ending"),
    [
        (timedelta(), None),
        (timedelta(minutes=9, seconds=59), None),
        (timedelta(minutes=10), Ending.NO_MODEL),
    ],
)
def test_completed_without_a_model_waits_ten_minutes_and_is_never_green(updated, ending):
    decision = decide(job("COMPLETED", path=None, updated=updated), state=WaitState(), limits=LIMITS, now=NOW)
    assert decision.ending == ending


@pytest.mark.parametrize("seen", [job("COMPLETED", path=None), http_error(503)])
def test_completed_without_a_model_is_not_late_at_the_deadline(seen):
    state, limits = WaitState(status="COMPLETED"), replace(LIMITS, deadline=NOW)
    assert decide(seen, state=state, limits=limits, now=NOW).ending is Ending.NO_MODEL


def test_completed_without_a_model_and_without_a_time_ends_at_once():
    seen = FineTuneJob(id="job-1", name="job", status="COMPLETED")
    assert decide(seen, state=WaitState(), limits=LIMITS, now=NOW).ending is Ending.NO_MODEL


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (http_error(404), Ending.NOT_FOUND),
        (http_error(404, is_api_answer=False), None),
        (http_error(400), Ending.REFUSED),
        (http_error(422), Ending.REFUSED),
        (http_error(429), None),
        (http_error(500), None),
        (http_error(503), None),
        (AtaiConnectionError("refused"), None),
        (AtaiResponseError("HTML"), None),
    ],
)
def test_ending_after_the_first_error(error, ending):
    decision = decide(error, state=WaitState(), limits=LIMITS, now=NOW)
    assert decision.ending == ending
    assert not decision.reread_connection


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_rereads_the_connection_once_until_the_next_answer(status):
    first = decide(http_error(status), state=WaitState(status="RUNNING"), limits=LIMITS, now=NOW)
    assert (first.ending, first.reread_connection, first.delay) == (None, True, 0)

    second = decide(http_error(status), state=first.state, limits=LIMITS, now=NOW)
    assert (second.ending, second.reread_connection) == (Ending.REFUSED, False)
    assert second.state.status == "RUNNING"

    answered = decide(job("RUNNING"), state=first.state, limits=LIMITS, now=NOW)
    assert decide(http_error(status), state=answered.state, limits=LIMITS, now=NOW).reread_connection


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_by_a_gateway_rereads_the_connection_once_and_is_an_outage(status):
    error = http_error(status, is_api_answer=False)
    first = decide(error, state=WaitState(status="RUNNING"), limits=LIMITS, now=NOW)
    assert (first.ending, first.reread_connection, first.delay) == (None, True, 0)
    second = decide(error, state=first.state, limits=LIMITS, now=NOW)
    assert (second.ending, second.reread_connection, second.delay > 0) == (None, False, True)
    late = decide(error, state=second.state, limits=LIMITS, now=NOW + timedelta(seconds=1800))
    assert late.ending is Ending.UNREACHABLE
    # The API's own refusal ends the wait as before.
    refused = decide(http_error(status), state=second.state, limits=LIMITS, now=NOW)
    assert refused.ending is Ending.REFUSED


def test_a_404_from_a_gateway_is_an_outage():
    error = http_error(404, is_api_answer=False)
    state = decide(error, state=WaitState(), limits=LIMITS, now=NOW).state
    assert decide(error, state=state, limits=LIMITS, now=NOW + timedelta(seconds=1799)).ending is None
    late = decide(error, state=state, limits=LIMITS, now=NOW + timedelta(seconds=1800))
    assert late.ending is Ending.UNREACHABLE


def test_a_404_for_a_known_job_is_an_outage():
    known = replace(LIMITS, known_to_exist=True)
    first = decide(http_error(404), state=WaitState(), limits=known, now=NOW)
    assert (first.ending, first.delay > 0) == (None, True)
    assert decide(job("RUNNING"), state=first.state, limits=known, now=NOW).state == WaitState("RUNNING")
    late = decide(http_error(404), state=first.state, limits=known, now=NOW + timedelta(seconds=1800))
    assert late.ending is Ending.NOT_FOUND


def test_an_outage_ends_the_wait_after_the_tolerance_which_an_answer_renews():
    state = decide(AtaiConnectionError("x"), state=WaitState(), limits=LIMITS, now=NOW).state
    almost = NOW + timedelta(seconds=1799)
    assert decide(AtaiConnectionError("x"), state=state, limits=LIMITS, now=almost).ending is None
    too_late = NOW + timedelta(seconds=1800)
    assert (
        decide(AtaiConnectionError("x"), state=state, limits=LIMITS, now=too_late).ending
        is Ending.UNREACHABLE
    )

    answered = decide(job("RUNNING"), state=state, limits=LIMITS, now=almost)
    assert decide(AtaiConnectionError("x"), state=answered.state, limits=LIMITS, now=too_late).ending is None


def test_rate_limits_are_not_an_outage():
    state = WaitState()
    for minute in range(59):
        decision = decide(http_error(429), state=state, limits=LIMITS, now=NOW + timedelta(minutes=minute))
        assert decision.ending is None
        state = decision.state
    at_deadline = decide(http_error(429), state=state, limits=LIMITS, now=NOW + timedelta(hours=1))
    assert at_deadline.ending is Ending.TIMED_OUT


@pytest.mark.parametrize(
    ("retry_after", "at_least", "at_most"),
    [(None, 45, 75), (120, 120, 120), (1e9, 600, 600)],
)
def test_retry_after_is_obeyed_and_capped(retry_after, at_least, at_most):
    delay = decide(http_error(429, retry_after), state=WaitState(), limits=LIMITS, now=NOW).delay
    assert at_least <= delay <= at_most


def test_delays_grow_with_failures_and_spread_with_jitter():
    delays = [
        decide(
            http_error(503), state=WaitState(failures=n), limits=WaitLimits(poll_interval=10), now=NOW
        ).delay
        for n in range(40)
    ]
    assert delays == sorted(delays)
    assert delays[0] == 10
    assert delays[-1] == 300
    low = decide(http_error(503), state=WaitState(), limits=LIMITS, now=NOW, jitter=0.0).delay
    high = decide(http_error(503), state=WaitState(), limits=LIMITS, now=NOW, jitter=0.99).delay
    assert low == 45
    assert 74 < high < 75


def test_days_of_rate_limits_do_not_overflow_the_delay():
    decision = decide(http_error(429), state=WaitState(failures=5000), limits=WaitLimits(), now=NOW)
    assert decision.delay == 300


def test_a_short_poll_interval_does_not_shorten_the_first_retry():
    assert decide(http_error(503), state=WaitState(), limits=WaitLimits(poll_interval=1), now=NOW).delay == 5


def test_the_next_poll_is_not_later_than_the_deadline():
    limits = WaitLimits(poll_interval=60, deadline=NOW + timedelta(seconds=7))
    assert decide(job("RUNNING"), state=WaitState(), limits=limits, now=NOW).delay == 7
    assert decide(http_error(503), state=WaitState(), limits=limits, now=NOW).delay == 7


SEEN = st.one_of(
    st.sampled_from([*ACTIVE_STATUSES, "COMPLETED", "STOPPED", "CANCELLED", "FAILED", "PAUSED"]).flatmap(
        lambda status: st.booleans().map(lambda path: job(status, path="s3://x" if path else None))
    ),
    st.sampled_from([400, 401, 403, 404, 409, 422, 429, 500, 503]).map(http_error),
    st.sampled_from([AtaiConnectionError("x"), AtaiResponseError("x")]),
)


def wait(seen, limits, jitter):
    """Return the ending, how long it took and the last answer. The last of ``seen`` is repeated for ever."""
    now, state, polls = NOW, WaitState(), 0
    while True:
        item = seen[min(polls, len(seen) - 1)]
        decision = decide(item, state=state, limits=limits, now=now, jitter=jitter)
        if decision.ending is not None:
            return decision.ending, now - NOW, item
        assert decision.delay >= 0
        assert decision.delay > 0 or decision.reread_connection
        now += timedelta(seconds=decision.delay)
        state, polls = decision.state, polls + 1


@given(
    seen=st.lists(SEEN, min_size=1, max_size=30),
    seconds=st.floats(1, 7200),
    interval=st.floats(1, 600),
    jitter=st.floats(0, 0.999),
)
def test_a_wait_with_a_deadline_always_ends_by_then_and_is_green_only_for_a_model(
    seen, seconds, interval, jitter
):
    limits = WaitLimits(poll_interval=interval, deadline=NOW + timedelta(seconds=seconds))
    ending, took, last = wait(seen, limits, jitter)

    assert took <= timedelta(seconds=seconds + 0.001)
    completed = isinstance(last, FineTuneJob) and last.status == "COMPLETED"
    if ending is Ending.COMPLETED:
        assert completed
        assert last.inference_config_path
    if ending in (Ending.STOPPED, Ending.CANCELLED, Ending.FAILED):
        assert last.status == ending.name


@given(
    seen=st.lists(SEEN, min_size=1, max_size=30),
    seconds=st.floats(1, 3600),
    more=st.floats(0, 3600),
    interval=st.floats(1, 600),
)
def test_a_later_deadline_never_ends_earlier(seen, seconds, more, interval):
    def took(limit):
        return wait(
            seen, WaitLimits(poll_interval=interval, deadline=NOW + timedelta(seconds=limit)), jitter=0.5
        )[1]

    assert took(seconds + more) >= took(seconds) - timedelta(milliseconds=1)
