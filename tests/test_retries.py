from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_atai.errors import (
    AtaiConfigurationError,
    AtaiConnectionError,
    FineTuneJobCancelledError,
    FineTuneJobFailedError,
    FineTuneJobNotFoundError,
    FineTuneJobStoppedError,
    FineTuneJobUnreachableError,
    error_class,
)
from airflow_provider_atai.retries import fine_tune_retry_policy

policies = pytest.importorskip(
    "airflow.sdk.definitions.retry_policy", reason="Airflow 3.3 has retry policies"
)


def http(status):
    return error_class(status)(status_code=status, method="GET", path="/v0.5/fine-tune/jobs/job-1")


def job_error(error):
    return error("It ended.", job_id="job-1", status="FAILED")


ENDED = [FineTuneJobFailedError, FineTuneJobCancelledError, FineTuneJobStoppedError]


@pytest.mark.parametrize("pay", [False, True])
@pytest.mark.parametrize("error", ENDED)
def test_another_job_is_paid_for_only_if_the_author_says_so(error, pay):
    decision = fine_tune_retry_policy(pay_for_another_job=pay).evaluate(job_error(error), 1, 3)
    assert decision.action is (policies.RetryAction.RETRY if pay else policies.RetryAction.FAIL)


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (http(400), policies.RetryAction.FAIL),
        (http(401), policies.RetryAction.FAIL),
        (http(404), policies.RetryAction.FAIL),
        (http(409), policies.RetryAction.FAIL),
        (AtaiConfigurationError("x"), policies.RetryAction.FAIL),
        (job_error(FineTuneJobNotFoundError), policies.RetryAction.FAIL),
        (http(429), policies.RetryAction.RETRY),
        (http(503), policies.RetryAction.RETRY),
        (AtaiConnectionError("x"), policies.RetryAction.RETRY),
        (job_error(FineTuneJobUnreachableError), policies.RetryAction.RETRY),
        (KeyError("a bug"), policies.RetryAction.DEFAULT),
    ],
)
def test_only_errors_that_a_retry_can_help_are_retried(error, action):
    decision = fine_tune_retry_policy(outage_delay=timedelta(minutes=7)).evaluate(error, 1, 3)
    assert decision.action is action
    assert decision.retry_delay == (timedelta(minutes=7) if action is policies.RetryAction.RETRY else None)


def test_the_policy_survives_the_serialised_dag():
    policy = fine_tune_retry_policy()
    again = policies.ExceptionRetryPolicy.deserialize(policy.serialize())
    assert again.serialize() == policy.serialize()
    decision = again.evaluate(job_error(FineTuneJobFailedError), 1, 3)
    assert decision.action is policies.RetryAction.FAIL
    assert "pays for another one" in decision.reason
