"""The verdict on what a task has told of its job: one history for each lie, and others beside it."""

from __future__ import annotations

import pytest

from airflow_provider_atai.errors import FineTuneJobFailedError, FineTuneJobTimeoutError
from tests.chaos.history import History
from tests.chaos.made_up import T0, error_of, one_try, plan_with, promises, record
from tests.chaos.verdict import PAGE, UNTRUE

PLAN = plan_with()
JOB = record("a-1", "COMPLETED", model=True)


def told(job_id, *statuses):
    entries = [{"status": status, "at": T0.isoformat()} for status in statuses]
    return {"atai_job": {"job_id": job_id}, "atai_statuses": {"job_id": job_id, "statuses": entries}}


def verdict(one, plan=PLAN):
    return [
        promise for promise in promises(plan, History(jobs=[JOB], tries=[one])) if promise in (PAGE, UNTRUE)
    ]


@pytest.mark.parametrize(("job_id", "broken"), [("a-1", []), ("a-0", [PAGE])])
def test_verdict_compares_the_page_with_what_a_green_task_returned(job_id, broken):
    assert verdict(one_try("create", state="success", value="a-1", told=told(job_id, "COMPLETED"))) == broken


@pytest.mark.parametrize(("job_id", "broken"), [("a-1", []), ("a-0", [PAGE])])
def test_verdict_compares_the_page_with_the_job_of_an_error(job_id, broken):
    error = error_of(FineTuneJobFailedError)
    assert (
        verdict(one_try("create", state="up_for_retry", error=error, told=told(job_id, "FAILED"))) == broken
    )


def test_verdict_misses_a_page_that_shows_nothing():
    assert verdict(one_try("create", state="success", value="a-1", told={})) == [PAGE]
    # The triggerer may still be sending when such a task has ended.
    sensor = one_try("wait", state="success", value={"job_id": "a-1"}, told={})
    assert verdict(sensor, plan_with(shape="sensor without workers")) == []
    assert verdict(sensor, plan_with(shape="deferred sensor")) == [PAGE]


def test_verdict_excuses_tries_that_know_no_job_or_were_killed():
    late = FineTuneJobTimeoutError("It was not looked at.", job_id="a-1", status="never read")
    assert verdict(one_try("create", state="failed", error=late, told={})) == []
    assert verdict(one_try("create", state="success", value="a-1", by_itself=False, told={})) == []


@pytest.mark.parametrize(
    ("statuses", "broken"),
    [
        (["REGISTERED", "COMPLETED"], []),
        (["STOPPED"], []),
        (["REGISTERED", "RUNNING"], [UNTRUE]),
        ([], [UNTRUE]),
    ],
)
def test_verdict_expects_the_end_on_the_page_of_a_green_task(statuses, broken):
    one = one_try("create", state="success", value="a-1", told=told("a-1", *statuses))
    assert verdict(one) == broken


def test_verdict_finds_statuses_of_another_job_and_too_many():
    mixed = {**told("a-1", "COMPLETED"), "atai_statuses": told("a-0", "COMPLETED")["atai_statuses"]}
    assert verdict(one_try("create", state="success", value="a-1", told=mixed)) == [UNTRUE]
    many = told("a-1", *["RUNNING"] * 100, "COMPLETED")
    assert verdict(one_try("create", state="success", value="a-1", told=many)) == [UNTRUE]
