"""The sentences: whether task and job agree, why a job ended, and what ending it would do."""

from __future__ import annotations

import pytest

from airflow_provider_atai.ui.recorded import RecordedJob
from airflow_provider_atai.ui.words import consequence, disagreement, explanation

CHOICES = {"waits": True, "own_id": False, "accept_stopped": False, "reattach": True}


def job(*, is_owner=True, **choices):
    return RecordedJob("job-1", "atai_default", is_owner, choices={**CHOICES, **choices})


@pytest.mark.parametrize(
    ("status", "state", "choices", "expected"),
    [
        ("RUNNING", "deferred", {}, None),
        ("RUNNING", "running", {}, None),
        (None, "failed", {}, None),
        ("RUNNING", "failed", {}, "it goes on running and billing"),
        ("ODD", "failed", {}, "it goes on running and billing"),
        ("RUNNING", "skipped", {}, "it goes on running and billing"),
        ("RUNNING", "success", {}, "The task is a success, but its job is RUNNING."),
        ("RUNNING", "success", {"waits": False}, None),
        ("COMPLETED", "success", {}, None),
        ("COMPLETED", "failed", {}, "The task is failed, but its job is COMPLETED."),
        ("COMPLETED", "deferred", {}, "has not noticed yet"),
        ("FAILED", "failed", {}, None),
        ("FAILED", "success", {}, "The task is a success, but its job is FAILED."),
        ("FAILED", "success", {"waits": False}, None),
        ("STOPPED", "success", {"accept_stopped": True}, None),
        ("STOPPED", "success", {}, "The task is a success, but its job is STOPPED."),
        ("FAILED", "up_for_retry", {}, None),
    ],
)
def test_whether_the_task_and_its_job_agree(status, state, choices, expected):
    said = disagreement(job(**choices), status=status, state=state)
    assert (said is None) if expected is None else (expected in said)


@pytest.mark.parametrize("status", [None, "RUNNING", "COMPLETED", "ODD"])
def test_a_job_that_has_not_ended_badly_needs_no_explanation(status):
    assert explanation(job(), status=status, state="deferred", has_checkpoint=None) is None


@pytest.mark.parametrize(
    ("status", "choices", "what", "retry"),
    [
        ("FAILED", {}, "FAILED. It no longer runs", "starts a new job, which is paid for again"),
        ("CANCELLED", {}, "was cancelled", "starts a new job"),
        ("STOPPED", {}, "was stopped", "starts a new job"),
        ("FAILED", {"own_id": True}, "FAILED", "cannot make another under the same job_id"),
        ("FAILED", {"is_owner": False}, "FAILED", "The sensor is not retried"),
    ],
)
def test_why_a_job_ended_and_what_a_retry_will_do(status, choices, what, retry):
    said = explanation(job(**choices), status=status, state="failed", has_checkpoint=None)
    assert what in said["what"]
    assert retry in said["retry"]
    assert "could not be read" not in said["what"]


def test_a_stopped_job_that_was_wanted_needs_no_explanation():
    wanted = job(accept_stopped=True)
    assert explanation(wanted, status="STOPPED", state="success", has_checkpoint=True) is None


@pytest.mark.parametrize("action", ["stop", "cancel"])
@pytest.mark.parametrize(
    ("choices", "state", "tries_left", "expected"),
    [
        ({}, "deferred", 0, "This task then fails. It has no retries left."),
        ({}, "deferred", 1, "has one retry left: a retry starts a new job, which is paid for again"),
        ({}, "running", 3, "has 3 retries left"),
        ({"own_id": True}, "running", 3, "cannot make another job under the same job_id"),
        ({"is_owner": False}, "deferred", 3, "This task then fails and is not retried"),
        ({"waits": False}, "running", 3, "does not wait for the job"),
        ({}, "success", 3, "This task is success and stays so"),
        ({}, "failed", 3, "This task is failed and stays so"),
    ],
)
def test_what_ending_the_job_does_to_the_task(action, choices, state, tries_left, expected):
    said = consequence(job(**choices), action, state=state, tries_left=tries_left)
    assert expected in said
    assert ("keeps its latest checkpoint" in said) == (action == "stop")


def test_a_stop_is_a_success_where_it_is_accepted():
    wanted = job(accept_stopped=True)
    assert "then succeeds" in consequence(wanted, "stop", state="deferred", tries_left=1)
    assert "then fails" in consequence(wanted, "cancel", state="deferred", tries_left=0)
