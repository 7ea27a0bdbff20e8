"""What a retry of a task can do: what is never retried, what messages say of it, and a ready-made policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_atai.api.fine_tune import ENDED_WITHOUT_MODEL
from airflow_provider_atai.compat.sdk import AirflowFailException
from airflow_provider_atai.errors import AtaiError, FineTuneJobError, FineTuneJobTimeoutError, PermanentError
from airflow_provider_atai.waiting.policy import Ending

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import ExceptionRetryPolicy

ADOPTS_THE_JOB = "A retry of this task adopts the same job; it does not start a second one."
POLLS_AGAIN = "A retry of this sensor polls the same job again."

_ERRORS = "airflow_provider_atai.errors"
_CAN_STILL_CHANGE = (Ending.UNREACHABLE, Ending.BROKEN, Ending.NO_MODEL)


def retry_of_owner(ending: Ending) -> str:
    """Return what a retry of the task that owns a job does after its wait has ended like this."""
    if ending.upper() in ENDED_WITHOUT_MODEL:
        return "A retry of this task starts a new job, which is paid for again."
    if ending in _CAN_STILL_CHANGE:
        return ADOPTS_THE_JOB
    if ending is Ending.TIMED_OUT:
        return "The task is not retried."
    return "The task is not retried. If it is run again, it looks for the same job before it creates one."


def retry_of_sensor(ending: Ending) -> str:
    """Return what a retry of a sensor does after its wait has ended like this."""
    if ending in _CAN_STILL_CHANGE:
        return POLLS_AGAIN
    if ending is Ending.TIMED_OUT:
        return "It may still run and bill. A sensor's timeout is not retried."
    return "A retry of this sensor cannot change that: it polls the same job."


def task_failure(error: FineTuneJobError) -> Exception:
    """Return what to raise for an error, so that Airflow does not retry what a retry cannot help."""
    if not isinstance(error, PermanentError | FineTuneJobTimeoutError):
        return error
    failure = AirflowFailException(str(error))
    failure.__cause__ = error
    return failure


@contextmanager
def failing_at_once(
    what: str, *, note: str = "", final: type[Exception] | tuple[type[Exception], ...] = PermanentError
) -> Iterator[None]:
    """
    Fail the task without another try if a retry cannot help.

    :param what: sentences that say what happened.
    :param note: what to add to an error that a retry can help with.
    :param final: the errors that no retry can help with.
    :raises AirflowFailException: in place of a final error.
    """
    try:
        yield
    except final as error:
        raise AirflowFailException(f"{what} A retry cannot help: {error}") from error
    except AtaiError as error:
        if note:
            error.add_note(note)
        raise


def fine_tune_retry_policy(
    *, pay_for_another_job: bool = False, outage_delay: timedelta = timedelta(minutes=5)
) -> ExceptionRetryPolicy:
    """
    Return a policy to pass as ``retry_policy=`` to the operators and the sensor of this provider.

    It needs no connection and no network. The task's ``retries`` stays the upper bound: a policy can end a
    task early, but it cannot try more often.

    :param pay_for_another_job: whether a task whose job FAILED, was CANCELLED or STOPPED is tried again,
        which makes another job. False fails the task at once, whatever its ``retries``.
    :param outage_delay: how long to wait before a retry if the service was out of reach. Such a retry adopts
        the same job.
    :raises RuntimeError: on Airflow before 3.3, which has no retry policies.
    """
    try:
        from airflow_provider_atai.compat.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
    except ImportError:
        raise RuntimeError(
            "fine_tune_retry_policy() needs Airflow 3.3 or newer. On an older one, leave retry_policy out "
            "and set retries and retry_delay."
        ) from None

    ended = RetryRule(
        exception=[f"{_ERRORS}.FineTuneJob{status.title()}Error" for status in sorted(ENDED_WITHOUT_MODEL)],
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
        reason="The service was out of reach; a retry adopts the same job.",
    )
    return ExceptionRetryPolicy(rules=[ended, permanent, passing])
