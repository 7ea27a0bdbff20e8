"""The sentences of the job's tab: what happened, what a retry will do, what ending the job will do. Pure."""

from __future__ import annotations

from airflow_provider_atai.api.fine_tune import TERMINAL_STATUSES
from airflow_provider_atai.retries import retry_of_owner, retry_of_sensor
from airflow_provider_atai.ui.recorded import RecordedJob
from airflow_provider_atai.waiting.policy import Ending
from airflow_provider_atai.waiting.result import WaitResult

NOT_ALLOWED = "Only users who may edit the runs of this DAG can do this."
OVER = "The job is over."
STOPPING = "The job is stopping already."
NO_CONNECTION = "Airflow's API server cannot use the task's connection."
_FAILED_STATES = frozenset({"failed", "upstream_failed", "skipped", "removed"})
_STOPPED = "was stopped before its training was complete. It no longer runs or bills."


def is_over(status: str | None) -> bool:
    """Tell whether a status is terminal. One that nobody knows is not."""
    return status in TERMINAL_STATUSES


def disagreement(job: RecordedJob, *, status: str | None, state: str | None) -> str | None:
    """
    Return a sentence if the task and its job tell different stories, None if they agree.

    :param job: the task's record.
    :param status: the job's status, None if it is unknown.
    :param state: the task's state, None if it has none yet.
    """
    if status is None:
        return None
    waits = job.choices.get("waits", True)
    if not is_over(status):
        if state in _FAILED_STATES:
            return f"The task is {state}, but its job is {status}: it goes on running and billing."
        if state == "success" and waits:
            return f"The task is a success, but its job is {status}."
        return None
    if state in (*_FAILED_STATES, "success"):
        is_good = status == "COMPLETED" or (status == "STOPPED" and job.choices.get("accept_stopped"))
        if state == "success":
            # A task that does not wait has done its part as soon as the job exists.
            return f"The task is a success, but its job is {status}." if waits and not is_good else None
        return f"The task is {state}, but its job is COMPLETED." if status == "COMPLETED" else None
    if state in ("running", "deferred") and waits:
        return f"The job is {status}. The task has not noticed yet: it looks again at its next poll."
    return None


def explanation(
    job: RecordedJob, *, status: str | None, state: str | None, has_checkpoint: bool | None
) -> dict[str, str] | None:
    """
    Return why a job ended badly, and what a retry of the task will do; None if all is well.

    :param has_checkpoint: whether a STOPPED job has left something, None if that is unclear.
    """
    accept_stopped = bool(job.choices.get("accept_stopped"))
    if not is_over(status) or status == "COMPLETED":
        return None
    result = WaitResult(Ending(str(status).lower()), job.job_id, status=status, has_checkpoint=has_checkpoint)
    if result.is_green(accept_stopped=accept_stopped):
        return None
    what = str(result.error("")).strip()
    if result.ending is Ending.STOPPED and has_checkpoint is None:
        what = f"Fine-tune job {job.job_id} {_STOPPED}"
    return {"what": what, "retry": _retry(job, result, state=state)}


def _retry(job: RecordedJob, result: WaitResult, *, state: str | None) -> str:
    accept_stopped = bool(job.choices.get("accept_stopped"))
    if not job.is_owner:
        return retry_of_sensor(result, accept_stopped=accept_stopped)
    retry = retry_of_owner(
        result,
        accept_stopped=accept_stopped,
        reattach=job.choices.get("reattach", True),
        id_is_chosen=job.choices.get("own_id", False),
    )
    if state == "success" and not job.choices.get("waits", True):
        return f"The task has done its part, and is not retried by itself. {retry}"
    return retry


def consequence(job: RecordedJob, action: str, *, state: str | None, tries_left: int) -> str:
    """
    Return what ending the job will do to it and to the task.

    :param action: ``"stop"`` or ``"cancel"``.
    :param tries_left: how often Airflow will try the task again by itself.
    """
    if action == "stop":
        to_job = "The job ends gracefully and keeps its latest checkpoint, if it has one."
    else:
        to_job = "The job ends at once, and nothing of its training is kept."
    return f"{to_job} {_to_task(job, action, state=state, tries_left=tries_left)}"


def _to_task(job: RecordedJob, action: str, *, state: str | None, tries_left: int) -> str:
    if state not in ("running", "deferred", "up_for_reschedule", "queued", "scheduled", "up_for_retry", None):
        return f"This task is {state} and stays so; what waits for the job will see how it ended."
    if not job.choices.get("waits", True):
        return "This task does not wait for the job; what does will see how it ended."
    if action == "stop" and job.choices.get("accept_stopped"):
        return "This task then succeeds if the job has a checkpoint, and fails if it has none."
    if not job.is_owner:
        return "This task then fails and is not retried; the job belongs to the task that created it."
    if job.choices.get("own_id"):
        return "This task then fails. A retry cannot make another job under the same job_id."
    if tries_left > 0:
        tries = "one retry" if tries_left == 1 else f"{tries_left} retries"
        return (
            f"This task then fails and has {tries} left: a retry starts a new job, which is paid for again. "
            "To prevent that, mark the task as failed instead."
        )
    return "This task then fails. It has no retries left."
