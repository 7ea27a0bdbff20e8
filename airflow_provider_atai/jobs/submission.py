"""
Create a job exactly once.

Before any POST the chosen id is looked up, and after any POST whose fate is unclear it is looked up again:
"could not look" is never taken for "not there".
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.backoff import backoff
from airflow_provider_atai.errors import (
    AtaiConflictError,
    AtaiError,
    AtaiGatewayNotFoundError,
    AtaiNotFoundError,
    GenerationsExhaustedError,
    JobIdTakenError,
    JobUnclearError,
    PermanentError,
    RetryableError,
)

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneApi, FineTuneJob

_MAX_POSTS = 4
_FIRST_PAUSE = 2.0
# Jitter makes this 60 seconds at most.
_LONGEST_PAUSE = 48.0
_LONGEST_RETRY_AFTER = 60.0


class Existing(Enum):
    """What a job that is already there means for a task that wants one."""

    ADOPT = "adopt"
    NEXT_GENERATION = "next generation"


def judge_existing(status: str, *, accept_stopped: bool) -> Existing:
    """
    Decide about a job that an earlier try of this very work has made.

    :param status: its status. Active and unlisted ones are adopted: the job may be billing already.
    :param accept_stopped: whether the task is content with a stopped job.
    """
    if status in ("FAILED", "CANCELLED") or (status == "STOPPED" and not accept_stopped):
        return Existing.NEXT_GENERATION
    return Existing.ADOPT


def submit_job(
    api: FineTuneApi,
    *,
    ids: Iterable[str],
    request: Mapping[str, Any],
    accept_stopped: bool,
    log: Any,
    ids_are_chosen: bool = False,
    before_create: Callable[[str], None] = lambda job_id: None,
) -> FineTuneJob:
    """
    Return the one job for this work: an earlier try's, or a new one.

    :param api: the calls on jobs.
    :param ids: the ids to use, in order; the next one where the job of the one before ended without a model.
    :param request: ``name``, ``datasets`` and ``model`` of the job.
    :param accept_stopped: whether a stopped job is one to go on with.
    :param log: the task's logger.
    :param ids_are_chosen: whether the DAG author has chosen the id, so that it may be that of any job.
    :param before_create: told the id each time before the service is asked to make a job with it; it may
        raise to prevent that.
    :raises AtaiError: when no job could be made or found; a retry looks again before it makes one.
    """
    ended: list[str] = []
    for job_id in ids:
        found = find_job(api, job_id)
        if found is None:
            job = _create(api, job_id, request=request, log=log, before_create=before_create)
            log.info("Created fine-tune job %s (status %s).", job.id, job.status)
            if job.id != job_id:
                log.warning(
                    "The service was asked to call the job %s and called it %s. Should this try be lost, "
                    "the next one cannot find the job and will make another.",
                    job_id,
                    job.id,
                )
            return job
        if judge_existing(found.status, accept_stopped=accept_stopped) is Existing.ADOPT:
            if ids_are_chosen:
                _check_is_wanted(found, request)
            log.info(
                "%s (created %s, status %s): going on with it instead of paying for a second one. To force a "
                "new job, %s.",
                f"The job {found.id} that job_id names is there already"
                if ids_are_chosen
                else f"An earlier try of this task has made job {found.id} already",
                found.created_at or "at an unknown time",
                found.status,
                "choose another job_id" if ids_are_chosen else "start a new DAG run or pass reattach=False",
            )
            return found
        log.info("Job %s of an earlier try is %s, so another one is needed.", found.id, found.status)
        ended.append(f"{found.id} {found.status}")
    raise GenerationsExhaustedError(
        f"Every job id that this task may use belongs to a job without a model ({_shortened(ended)}). "
        "None of them runs or bills. Find out why they end, then start a new DAG run or choose another "
        "job_id."
    )


def _check_is_wanted(found: FineTuneJob, request: Mapping[str, Any]) -> None:
    # Not its config: the service may resolve model and file ids to something else.
    if found.name != request["name"]:
        raise JobIdTakenError(
            f"The job {found.id} that job_id names is called {found.name!r}, not {request['name']!r}; its "
            f"status is {found.status}. It was left alone. Choose another job_id, or leave it out."
        )


def find_job(api: FineTuneApi, job_id: str) -> FineTuneJob | None:
    """
    Return the job with an id, or None when the service clearly says that there is none.

    :raises AtaiError: when the service gives no clear answer.
    """
    try:
        return api.get(job_id)
    except AtaiNotFoundError:
        return None
    except AtaiGatewayNotFoundError:
        # The body of the service's own 404 is not documented. The list tells it from that of a gateway.
        return next((job for job in api.list() if job.id == job_id), None)


def latest_job(api: FineTuneApi, *, ids: Iterable[str]) -> FineTuneJob | None:
    """
    Return the job of the last generation that there is, None when there is none.

    :raises AtaiError: when the service gives no clear answer.
    """
    latest = None
    for job_id in ids:
        found = find_job(api, job_id)
        if found is None:
            break
        latest = found
    return latest


def _create(
    api: FineTuneApi,
    job_id: str,
    *,
    request: Mapping[str, Any],
    log: Any,
    before_create: Callable[[str], None],
) -> FineTuneJob:
    for attempt in range(1, _MAX_POSTS + 1):
        before_create(job_id)
        try:
            return api.create(**request, job_id=job_id)
        except AtaiConflictError as error:
            found = _look_again(api, job_id, after=error)
            if found is None:
                raise
            return found
        except RetryableError as error:
            problem: AtaiError = error
        pause = _pause(problem, attempt=attempt, jitter=random.random())
        log.warning(
            "It is unclear whether job %s was created: %s. Looking it up in %.0f s.", job_id, problem, pause
        )
        time.sleep(pause)
        found = _look_again(api, job_id, after=problem)
        if found is not None:
            log.info("Job %s was created although the answer got lost.", job_id)
            return found
    raise problem


def _look_again(api: FineTuneApi, job_id: str, *, after: AtaiError) -> FineTuneJob | None:
    try:
        return find_job(api, job_id)
    except PermanentError as error:
        # The same key has just been good enough for the POST, and the job may exist.
        raise JobUnclearError(
            f"Job {job_id} may have been created ({after}), but it cannot be looked up ({error})."
        ) from error


def _shortened(ended: list[str]) -> str:
    return ", ".join(ended if len(ended) < 4 else [*ended[:2], "...", ended[-1]])


def _pause(error: AtaiError, *, attempt: int, jitter: float) -> float:
    return backoff(
        attempt,
        error,
        first=_FIRST_PAUSE,
        longest=_LONGEST_PAUSE,
        longest_retry_after=_LONGEST_RETRY_AFTER,
        jitter=jitter,
    )
