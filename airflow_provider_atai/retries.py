"""What a retry of a task can do, how a failed task says so, and a ready-made policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from airflow_provider_atai.api.fine_tune import ENDED_WITHOUT_MODEL
from airflow_provider_atai.api.printable import printable
from airflow_provider_atai.compat.sdk import AirflowFailException, AirflowSensorTimeout, log_of
from airflow_provider_atai.errors import AtaiError, FineTuneJobError, PermanentError
from airflow_provider_atai.waiting.policy import Ending

if TYPE_CHECKING:
    from airflow_provider_atai.compat.sdk import ExceptionRetryPolicy
    from airflow_provider_atai.waiting.result import WaitResult

P = ParamSpec("P")
T = TypeVar("T")

ADOPTS_THE_JOB = "A retry of this task adopts the same job; it does not start a second one."
MAKES_ANOTHER_JOB = (
    "With reattach=False a retry of this task makes another job, which is paid for again. If this one still "
    "runs by then, it gets the kill_action first."
)
POLLS_AGAIN = "A retry of this sensor polls the same job again."

_LONGEST_LINE = 4000
_ERRORS = "airflow_provider_atai.errors"


def another_try(*, reattach: bool) -> str:
    """Return what a retry of the task that owns a job does if the job may still run."""
    return ADOPTS_THE_JOB if reattach else MAKES_ANOTHER_JOB


def look_first(*, reattach: bool) -> str:
    """Return what a retry of the task that owns a job does if nobody has seen the job lately."""
    return "A retry of this task looks for its job before it creates one." if reattach else MAKES_ANOTHER_JOB


def retry_after_unclear_create(*, reattach: bool) -> str:
    """Return what a retry of a task does that cannot tell whether it has made a job."""
    if reattach:
        return "It is unknown whether a job exists. A retry looks for it before it creates one."
    return f"It is unknown whether a job exists. {MAKES_ANOTHER_JOB}"


def starts_a_new_job(ending: Ending) -> bool:
    """Tell whether the task that owned the job makes another one after this end."""
    return ending.upper() in ENDED_WITHOUT_MODEL


def retry_of_owner(
    result: WaitResult, *, accept_stopped: bool, reattach: bool, id_is_chosen: bool = False
) -> str:
    """Return what a retry of the task that owns a job does after its wait has ended like this."""
    if result.can_still_change(accept_stopped=accept_stopped):
        return another_try(reattach=reattach)
    if starts_a_new_job(result.ending) and id_is_chosen:
        return "A retry cannot make another under the same job_id: choose another one, or leave it out."
    if starts_a_new_job(result.ending):
        return "A retry of this task starts a new job, which is paid for again."
    if result.ending is Ending.TIMED_OUT:
        return "The task is not retried."
    if reattach:
        return "The task is not retried. If it is run again, it looks for the same job before it creates one."
    return f"The task is not retried by itself. {MAKES_ANOTHER_JOB}"


def retry_of_sensor(result: WaitResult, *, accept_stopped: bool) -> str:
    """Return what a retry of a sensor does after its wait has ended like this."""
    if result.can_still_change(accept_stopped=accept_stopped):
        return POLLS_AGAIN
    if result.ending is Ending.TIMED_OUT:
        return "It may still run and bill. A sensor's timeout is not retried."
    return "The sensor is not retried: it would poll the same job and find the same."


def task_failure(error: FineTuneJobError, *, final: bool) -> Exception:
    """
    Return what a task raises for an error.

    :param error: how the wait ended.
    :param final: whether a retry cannot help. The owner of a job can make another one; a sensor only looks.
    """
    if not final:
        return error
    # Airflow never retries this one. soft_fail skips on it only if poke() raises it, or Airflow's own
    # resume_execution() of a sensor sees it: ours come from neither.
    failure = AirflowFailException(str(error))
    failure.__cause__ = error
    return failure


def telling_why(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """
    Let ``execute`` or ``resume_execution`` log why the task fails, in one ERROR line.

    Airflow logs the same sentence below a traceback, where few people look.
    """

    @wraps(method)
    def telling(task: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(task, *args, **kwargs)
        except (AtaiError, AirflowFailException, AirflowSensorTimeout) as error:
            # What follows the first line is the traceback of a trigger.
            sentences = [str(error).partition("\n")[0], *getattr(error, "__notes__", ())]
            log_of(task).error("%s", printable(" ".join(sentences), _LONGEST_LINE))
            raise

    return telling


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
        the same job, unless the operator has ``reattach=False``.
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
        reason="The service was out of reach; the job itself is not affected.",
    )
    return ExceptionRetryPolicy(rules=[ended, permanent, passing])
