from __future__ import annotations

import json

import pytest

from airflow_provider_atai.errors import (
    AtaiResponseError,
    FineTuneJobCancelledError,
    FineTuneJobFailedError,
    FineTuneJobNoModelError,
    FineTuneJobNotFoundError,
    FineTuneJobRefusedError,
    FineTuneJobStoppedError,
    FineTuneJobTimeoutError,
    FineTuneJobUnreachableError,
)
from airflow_provider_atai.waiting.policy import Ending
from airflow_provider_atai.waiting.result import WaitResult

SUMMARY = {"job_id": "job-1", "status": "COMPLETED"}


@pytest.mark.parametrize("ending", list(Ending))
def test_a_result_survives_the_trip_to_the_worker(ending):
    result = WaitResult(
        ending, "job-1", status="RUNNING", reason="HTTP 503", summary=SUMMARY, has_checkpoint=True
    )
    event = json.loads(json.dumps(result.to_event()))
    assert WaitResult.from_event(event, job_id="job-1") == result


@pytest.mark.parametrize(
    "event",
    [
        None,
        "error",
        [],
        {},
        {"ending": "completed"},
        {"ending": "done", "job_id": "job-1", "summary": SUMMARY},
        {"ending": None, "job_id": "job-1"},
        {"ending": ["completed"], "job_id": "job-1"},
        {"ending": "completed", "job_id": "job-2", "summary": SUMMARY},
        {"ending": "completed", "job_id": "job-1", "summary": None},
        {"ending": "stopped", "job_id": "job-1"},
        {"status": "success"},
    ],
)
def test_an_unreadable_event_is_an_error_and_never_a_success(event):
    with pytest.raises(AtaiResponseError, match=r"job-1 cannot be read .* may still run"):
        WaitResult.from_event(event, job_id="job-1")


@pytest.mark.parametrize("ending", list(Ending))
@pytest.mark.parametrize("accept_stopped", [False, True])
@pytest.mark.parametrize("has_checkpoint", [None, False, True, "yes", 1])
def test_only_a_finished_model_is_green(ending, accept_stopped, has_checkpoint):
    result = WaitResult(ending, "job-1", summary=SUMMARY, has_checkpoint=has_checkpoint)
    is_kept = ending is Ending.STOPPED and has_checkpoint is True
    green = result.is_green(accept_stopped=accept_stopped)
    assert green == (ending is Ending.COMPLETED or (is_kept and accept_stopped))


@pytest.mark.parametrize(
    ("ending", "error_class", "says"),
    [
        (Ending.FAILED, FineTuneJobFailedError, "no longer runs"),
        (Ending.CANCELLED, FineTuneJobCancelledError, "no longer runs or bills"),
        (Ending.STOPPED, FineTuneJobStoppedError, "no longer runs or bills.*unclear whether"),
        (Ending.NO_MODEL, FineTuneJobNoModelError, "no longer runs or bills"),
        (Ending.TIMED_OUT, FineTuneJobTimeoutError, r"be read .*\(HTTP 503\).* last known status is RUNNING"),
        (Ending.UNREACHABLE, FineTuneJobUnreachableError, r"\(HTTP 503\).* may still run and bill"),
        (Ending.BROKEN, FineTuneJobUnreachableError, r"unknown state.*\(HTTP 503\).* may still run and bill"),
        (Ending.REFUSED, FineTuneJobRefusedError, r"\(HTTP 503\).* may still run and bill"),
        (Ending.NOT_FOUND, FineTuneJobNotFoundError, "Check the job id"),
    ],
)
def test_an_error_says_what_happened_whether_the_job_bills_and_what_a_retry_does(ending, error_class, says):
    error = WaitResult(ending, "job-1", status="RUNNING", reason="HTTP 503").error("A retry polls again.")
    assert type(error) is error_class
    assert (error.job_id, error.status) == ("job-1", "RUNNING")
    with pytest.raises(error_class, match=f"job-1 .*{says}.* A retry polls again."):
        raise error


@pytest.mark.parametrize(
    ("has_checkpoint", "says"),
    [(True, "accept_stopped=True"), (False, "left nothing to use"), (None, "unclear whether it has")],
)
def test_a_stopped_job_is_told_by_what_it_left(has_checkpoint, says):
    assert says in str(WaitResult(Ending.STOPPED, "job-1", has_checkpoint=has_checkpoint).error("Retry."))


def test_every_ending_except_success_has_an_error():
    for ending in set(Ending) - {Ending.COMPLETED}:
        assert str(WaitResult(ending, "job-1").error("Retry.")).endswith("Retry.")
