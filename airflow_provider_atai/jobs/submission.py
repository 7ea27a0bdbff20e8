"""
Create a job exactly once.

The id is looked up before any POST, and again after any POST whose outcome is unclear. "Could not look" is
never taken for "not there".
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.backoff import backoff
from airflow_provider_atai.api.fine_tune import ENDED_WITHOUT_MODEL
from airflow_provider_atai.api.timestamps import parse_timestamp
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
from airflow_provider_atai.jobs.ending import HasFineTuneApi, JobAction, end_job

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneApi, FineTuneJob
    from airflow_provider_atai.jobs.kill import KillSwitch

_MAX_POSTS = 4
_FIRST_PAUSE = 2.0
# Jitter makes this 60 seconds at most.
_LONGEST_PAUSE = 48.0
_LONGEST_RETRY_AFTER = 60.0


def is_adopted(status: str, *, accept_stopped: bool) -> bool:
    """Tell whether an existing job is adopted. Active and unlisted ones are: they may be billing already."""
    return status not in ENDED_WITHOUT_MODEL or (accept_stopped and status == "STOPPED")


def submit_job(
    api: FineTuneApi,
    *,
    ids: Iterable[str],
    request: Mapping[str, Any],
    accept_stopped: bool,
    switch: KillSwitch,
    remember: Callable[[str], None],
    log: logging.Logger,
    ids_are_chosen: bool = False,
) -> FineTuneJob:
    """
    Return the one job for this work: the job of an earlier try, or a new one.

    :param api: the calls on jobs.
    :param ids: the ids to use, in order: the next one if the job of the one before ended without a model.
    :param request: ``name``, ``datasets`` and ``model`` of the job.
    :param accept_stopped: whether a STOPPED job is adopted, unless it has no checkpoint.
    :param switch: the task's kill switch.
    :param remember: keeps the id of the task's job for its next try; called before every POST as well.
    :param log: the task's logger.
    :param ids_are_chosen: whether the DAG author has chosen the id, so that any job may have it.
    :raises AtaiError: no job could be made or found; a retry looks the ids up before it makes one.
    :raises TaskKilledError: the task was killed meanwhile.
    """
    ended: list[str] = []
    for job_id in ids:
        job = find_job(api, job_id)
        if job is None:
            job = _create(api, job_id, request=request, switch=switch, remember=remember, log=log)
            log.info("Created fine-tune job %s (status %s).", job.id, job.status)
            if job.id != job_id:
                log.warning(
                    "The service was asked to call the job %s and called it %s. If this try is lost, the "
                    "next one cannot find the job and makes another.",
                    job_id,
                    job.id,
                )
        elif is_adopted(job.status, accept_stopped=accept_stopped) and not _left_nothing(api, job):
            if ids_are_chosen:
                _check_is_wanted(job, request)
            log.info(
                "%s (created %s, status %s). It is adopted, so that nobody pays for a second one. To force a "
                "new job, %s.",
                f"The job {job.id} that job_id names exists already"
                if ids_are_chosen
                else f"An earlier try of this task made job {job.id}",
                job.created_at or "at an unknown time",
                job.status,
                "choose another job_id" if ids_are_chosen else "start a new DAG run or pass reattach=False",
            )
        else:
            log.info("Job %s of an earlier try is %s, so the task needs another one.", job.id, job.status)
            ended.append(f"{job.id} {job.status}")
            continue
        remember(job.id)
        switch.after_submission(job.id)
        return job
    raise GenerationsExhaustedError(
        f"Every job id that this task may use belongs to a job without a model ({_shortened(ended)}). "
        "None of them runs or bills. Find out why they ended, then start a new DAG run or choose another "
        "job_id."
    )


def _left_nothing(api: FineTuneApi, job: FineTuneJob) -> bool:
    # If it is unclear whether a stopped job has a checkpoint, it is adopted: another one would be paid for.
    if job.status != "STOPPED":
        return False
    try:
        return job.has_checkpoint(api.metrics(job.id)) is False
    except AtaiError:
        return False


def _check_is_wanted(found: FineTuneJob, request: Mapping[str, Any]) -> None:
    # The config is not compared: the service may resolve model and file ids to something else.
    if found.name != request["name"]:
        raise JobIdTakenError(
            f"The job {found.id} that job_id names is called {found.name!r}, not {request['name']!r}; its "
            f"status is {found.status}. It was left alone. Choose another job_id, or leave it out."
        )


def end_superseded(
    owner: HasFineTuneApi, job_id: str | None, action: JobAction, *, log: logging.Logger
) -> None:
    """End the job of an earlier try whose request has changed since, if there is one: nobody waits for it."""
    job = None if job_id is None else find_job(owner.fine_tune, job_id)
    if job is not None and not job.is_terminal:
        log.warning(
            "Job %s of an earlier try is %s, but that try had another request. This try makes its own job.",
            job.id,
            job.status,
        )
        end_job(owner, job.id, action, log=log)


def find_job(api: FineTuneApi, job_id: str) -> FineTuneJob | None:
    """
    Return the job with an id, or None if the service clearly says that there is none.

    :raises AtaiError: the service gives no clear answer.
    """
    try:
        return api.get(job_id)
    except AtaiNotFoundError:
        return None
    except AtaiGatewayNotFoundError:
        # The body of the service's own 404 is not documented. The list tells it from a gateway's 404.
        return next((job for job in api.list() if job.id == job_id), None)


def latest_job(api: FineTuneApi, *, ids: Iterable[str]) -> FineTuneJob | None:
    """
    Return the job of the last generation that exists, None if there is none.

    :raises AtaiError: the service gives no clear answer.
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
    switch: KillSwitch,
    remember: Callable[[str], None],
    log: logging.Logger,
) -> FineTuneJob:
    for attempt in range(1, _MAX_POSTS + 1):
        switch.before_post(job_id)
        remember(job_id)
        asked_at = datetime.now(UTC)
        try:
            return _not_older(api.create(**request, job_id=job_id), asked_at)
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
            log.info("Job %s was created although the response was lost.", job_id)
            return _not_older(found, asked_at)
    raise problem


def _not_older(job: FineTuneJob, asked_at: datetime) -> FineTuneJob:
    # The service's clock may be behind, and the task's timeout counts from this time.
    if job.created_at is None or job.created_at >= asked_at:
        return job
    return replace(job, created_at=parse_timestamp(asked_at.isoformat()))


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
