"""The verdict on tries and waits: one history for each way to break a promise, and others beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_provider_atai.errors import (
    AtaiConfigurationError,
    FineTuneJobFailedError,
    FineTuneJobStoppedError,
    FineTuneJobTimeoutError,
)
from tests.chaos.history import Crowd, History, Stay
from tests.chaos.made_up import T0, error_of, one_try, plan_with, promises, record, request
from tests.chaos.verdict import (
    COSTLY,
    DOOMED,
    EARLY,
    FALSE_RED,
    GAVE_UP,
    LATE,
    OVERRUN,
    SILENT,
    USELESS_RETRY,
)

PLAN = plan_with()
RUNNING = record("a-1", "RUNNING")


@pytest.mark.parametrize(("minutes", "downtime", "broken"), [(1, 0, []), (20, 0, [OVERRUN]), (20, 1200, [])])
def test_verdict_allows_for_downtime_in_deadlines(minutes, downtime, broken):
    plan = plan_with(operator={"timeout": 600.0})
    one = one_try("create", ended=600 + minutes * 60, downtime=downtime, by_itself=False)
    assert promises(plan, History(jobs=[RUNNING], tries=[one])) == broken


@pytest.mark.parametrize(
    ("status", "fault", "has_tries_left", "broken"),
    [
        ("FAILED", None, True, [USELESS_RETRY]),
        ("STOPPED", None, True, [USELESS_RETRY]),
        ("FAILED", None, False, []),
        ("FAILED", 1, True, []),
        ("RUNNING", None, True, []),
    ],
)
def test_sensor_is_not_tried_again_once_it_has_seen_a_bad_end(status, fault, has_tries_left, broken):
    job = record("a-1", status)
    one = one_try("wait", ended=9, state="up_for_retry", has_tries_left=has_tries_left, jobs=[job])
    history = History(jobs=[job], tries=[one], log=[request("a-1", second=5, fault=fault)])
    assert promises(PLAN, history) == broken


def test_bad_end_of_a_neighbours_job_says_nothing_of_the_sensors():
    neighbours = record("b-1", "FAILED")
    one = one_try("wait", ended=9, state="up_for_retry", has_tries_left=True, jobs=[RUNNING, neighbours])
    log = [request("a-1", second=4), request("b-1", second=5)]
    history = History(jobs=[RUNNING], tries=[one], log=log)
    assert promises(PLAN, history) == [USELESS_RETRY]
    history.strangers.add("b-1")
    assert promises(PLAN, history) == []


@pytest.mark.parametrize(
    ("state", "unread", "kind", "error", "broken"),
    [
        ("failed", 6, None, "Airflow knows no connection 'x'", [GAVE_UP]),
        ("failed", 6, None, "the job FAILED", []),
        ("failed", None, "outage", "away", [GAVE_UP]),
        ("failed", None, "gateway's refusal", "away", [GAVE_UP]),
        ("failed", None, "refused key", "away", []),
        ("failed", 4, None, "Airflow knows no connection 'x'", []),
        ("up_for_retry", 6, "outage", "away", []),
    ],
)
def test_task_does_not_give_up_over_a_passing_trouble(state, unread, kind, error, broken):
    last_unread = None if unread is None else T0 + timedelta(seconds=unread)
    one = one_try("create", ended=9, state=state, has_tries_left=True, error=AtaiConfigurationError(error))
    one = replace(one, last_exchange=T0 + timedelta(seconds=5), last_unread=last_unread)
    history = History(tries=[one], log=[request("a-1", second=5, fault=kind and 1)], fault_kinds={1: kind})
    assert promises(PLAN, history) == broken


@pytest.mark.parametrize(
    ("state", "changed", "fault", "broken"),
    [
        ("failed", 10, None, [FALSE_RED]),
        ("up_for_retry", 10, None, [FALSE_RED]),
        ("success", 10, None, []),
        ("failed", 290, None, []),
        ("failed", 10, 1, []),
    ],
)
def test_task_whose_job_has_a_model_is_not_red(state, changed, fault, broken):
    job = record("a-1", "COMPLETED", changed=changed, model=True)
    one = one_try("create", ended=300, state=state, jobs=[job])
    history = History(jobs=[job], tries=[one], log=[request("a-1", second=200, fault=fault)])
    assert promises(PLAN, history) == broken


@pytest.mark.parametrize(("status", "broken"), [("CANCELLED", [FALSE_RED]), ("RUNNING", [])])
def test_task_that_has_cancelled_its_job_is_not_red(status, broken):
    job = record("a-1", status)
    history = History(jobs=[job], tries=[one_try("tidy", ended=5, state="failed", jobs=[job])])
    assert promises(PLAN, history) == broken


@pytest.mark.parametrize(
    ("behind", "ended", "broken"), [(0, 500, [EARLY]), (0, 600, []), (200, 500, [EARLY])]
)
def test_deadline_of_a_job_that_the_try_has_made_does_not_depend_on_a_clock(behind, ended, broken):
    plan = plan_with(operator={"timeout": 600.0}, odd={"clock_behind": behind})
    one = one_try("create", ended=ended, state="failed", error=error_of(FineTuneJobTimeoutError))
    assert promises(plan, History(jobs=[RUNNING], tries=[one])) == broken


def test_deadline_of_an_adopted_job_is_as_early_as_the_services_clock():
    plan = plan_with(operator={"timeout": 600.0}, odd={"clock_behind": 200.0})
    error = error_of(FineTuneJobTimeoutError)
    tries = [
        one_try("create", ended=5),
        one_try("create", started=10, ended=450, state="failed", error=error),
    ]
    assert promises(plan, History(jobs=[RUNNING], tries=tries)) == []


@pytest.mark.parametrize(
    ("error", "status", "broken"),
    [
        (error_of(FineTuneJobStoppedError), "STOPPING", [DOOMED]),
        (error_of(FineTuneJobStoppedError, "a-2"), "STOPPING", []),
        (error_of(FineTuneJobStoppedError), "RUNNING", []),
        (error_of(FineTuneJobFailedError), "STOPPING", []),
    ],
)
def test_try_does_not_adopt_a_job_that_is_stopping(error, status, broken):
    one = one_try("create", state="up_for_retry", error=error, jobs_before=[record("a-1", status)])
    assert promises(PLAN, History(tries=[one])) == broken


@pytest.mark.parametrize(
    ("said", "broken"),
    [
        ("HTTP 503", [SILENT]),
        ("Job a-1 is RUNNING", [SILENT]),
        ("Job a-1 may still run and bill", []),
    ],
)
def test_error_of_a_broken_wait_names_the_job_and_the_bill(said, broken):
    one = one_try("create", ended=9, downtime=5, state="failed", error=RuntimeError(said), jobs=[RUNNING])
    assert promises(PLAN, History(state="failed", jobs=[RUNNING], tries=[one])) == broken


@pytest.mark.parametrize(
    ("ended", "trouble", "error", "broken"),
    [
        (100, None, None, []),
        (200, None, None, [LATE]),
        (200, 50, None, []),
        (100, None, "TypeError()", [LATE]),
    ],
)
def test_end_of_a_job_is_noticed_after_one_interval(ended, trouble, error, broken):
    stay = Stay("a-1", T0, T0 + timedelta(seconds=ended), interval=60, has_fired=True, error=error)
    troubles = [] if trouble is None else [(T0, T0 + timedelta(seconds=trouble))]
    history = History(jobs=[record("a-1", "FAILED", changed=30)], stays=[stay], troubles=troubles)
    assert promises(PLAN, history) == broken


@pytest.mark.parametrize(("requests_in_a_poll", "broken"), [(3, []), (9, [COSTLY])])
def test_several_waits_share_their_requests(requests_in_a_poll, broken):
    plan = plan_with(odd={"longest_page": 5})
    jobs = [record(f"a-{number}", "CANCELLED", changed=6000) for number in range(10)]
    crowd = Crowd(T0, T0 + timedelta(seconds=6000), interval=60, waits=10)
    log = [request("a-1", second=60 * poll) for poll in range(100) for _ in range(requests_in_a_poll)]
    others = {job["id"] for job in jobs}
    assert promises(plan, History(jobs=jobs, crowds=[crowd], log=log, strangers=others)) == broken
