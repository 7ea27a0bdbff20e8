"""A ready-made retry policy for tasks that use this provider, on Airflow 3.3 and newer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ExceptionRetryPolicy

_ERRORS = "airflow_provider_atai.errors"
_ENDED_WITHOUT_A_MODEL = [
    f"{_ERRORS}.{name}"
    for name in ("FineTuneJobFailedError", "FineTuneJobCancelledError", "FineTuneJobStoppedError")
]


def fine_tune_retry_policy(
    *, pay_for_another_job: bool = False, outage_delay: timedelta = timedelta(minutes=5)
) -> ExceptionRetryPolicy:
    """
    Return a policy to pass as ``retry_policy=`` to the operators and the sensor of this provider.

    It needs no connection and no network. The task's ``retries`` stays the upper bound: a policy can end a
    task early, it cannot try more often.

    :param pay_for_another_job: whether a task whose job FAILED, was CANCELLED or STOPPED is tried again,
        which makes another job. False fails the task at once, whatever its ``retries``.
    :param outage_delay: how long to wait before a retry where the service was out of reach. Such a retry goes
        on with the same job.
    :raises RuntimeError: on Airflow before 3.3, which has no retry policies.
    """
    try:
        from airflow.providers.common.compat.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
    except (ImportError, AttributeError):
        raise RuntimeError(
            "fine_tune_retry_policy() needs Airflow 3.3 or newer. On an older one leave retry_policy out "
            "and set "
            "retries and retry_delay."
        ) from None

    ended = RetryRule(
        exception=list(_ENDED_WITHOUT_A_MODEL),
        action=RetryAction.RETRY if pay_for_another_job else RetryAction.FAIL,
        reason="The job ended without a model; a retry pays for another one.",
    )
    permanent = RetryRule(
        exception=f"{_ERRORS}.PermanentError",
        action=RetryAction.FAIL,
        reason="The same request cannot succeed.",
    )
    passing = RetryRule(
        exception=f"{_ERRORS}.RetryableError",
        action=RetryAction.RETRY,
        retry_delay=outage_delay,
        reason="The service was out of reach; a retry goes on with the same job.",
    )
    return ExceptionRetryPolicy(rules=[ended, permanent, passing])
