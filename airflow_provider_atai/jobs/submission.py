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
from airflow_provider_atai.jobs.identity import TaskJob

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


def can_only_end_without_model(status: str, *, accept_stopped: bool, ids_are_chosen: bool) -> bool:
    """Tell whether an adopted job is only waited for until it has ended, so that another can be made."""
    return status == "STOPPING" and not accept_stopped and not ids_are_chosen


def submit_job(
    api: FineTuneApi,
    *,
    jobs: Iterable[TaskJob],
    request: Mapping[str, Any],
    accept_stopped: bool,
    switch: KillSwitch,
    remember: Callable[[TaskJob], bool],
    log: logging.Logger,
    ids_are_chosen: bool = False,
) -> FineTuneJob:
    """
    Return the one job for this work: the job of an earlier try, or a new one.

    :param api: the calls on jobs.
    :param jobs: the jobs that may be the task's, in order: the next one is for when the one before has ended
        without a model.
    :param request: ``name``, ``datasets`` and ``model`` of the job.
    :param accept_stopped: whether a STOPPED job is adopted, unless it has no checkpoint.
    :param switch: the task's kill switch.
    :param remember: keeps the task's job for its next try, if it can, and returns whether it has; called
        before every POST as well.
    :param log: the task's logger.
    :param ids_are_chosen: whether the DAG author has chosen the id, so that any job may have it.
    :raises AtaiError: no job could be made or found; a retry looks the ids up before it makes one.
    :raises TaskKilledError: the task was killed meanwhile.
    """
    ended: list[str] = []
    for own in jobs:
        job = find_job(api, own.id)
        if job is None and own.id != own.asked:
            job = find_job(api, own.asked)
        made = own.made
        if job is None:
            job, made = _create(
                api,
                own.asked,
                request=request,
                switch=switch,
                remember=remember,
                log=log,
                is_chosen=ids_are_chosen,
            )
            log.info("Created fine-tune job %s (status %s).", job.id, job.status)
        elif not is_adopted(job.status, accept_stopped=accept_stopped) or _left_nothing(api, job):
            log.info("Job %s of an earlier try is %s, so the task needs another one.", job.id, job.status)
            ended.append(f"{job.id} {job.status}")
            continue
        elif can_only_end_without_model(
            job.status, accept_stopped=accept_stopped, ids_are_chosen=ids_are_chosen
        ):
            log.info(
                "Job %s of an earlier try is %s. This try waits until it has ended, and then makes another "
                "if there is no model.",
                job.id,
                job.status,
            )
        else:
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
        is_kept = remember(TaskJob(own.asked, job.id, made))
        if job.id != own.asked:
            log.warning(
                "The service was asked to call the job %s and called it %s. %s",
                own.asked,
                job.id,
                "A later try finds it by the id that Airflow has stored."
                if is_kept
                else "This Airflow stores nothing for a later try (3.3 does), so a retry would not find the "
                "job, but make another and pay for it. Set retries=0.",
            )
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
    owner: HasFineTuneApi, jobs: Iterable[TaskJob], action: JobAction, *, log: logging.Logger
) -> None:
    """
    End the jobs of earlier tries that nobody waits for, as far as they still run and the task has made them.

    :raises AtaiError: the service gives no clear answer about one of them.
    """
    for earlier in jobs:
        job = find_job(owner.fine_tune, earlier.id)
        if job is None or job.is_terminal:
            continue
        if earlier.made:
            log.warning(
                "Job %s of an earlier try is %s, and this try makes a job of its own.", job.id, job.status
            )
            end_job(owner, job.id, action, log=log)
        else:
            log.warning(
                "Job %s, which an earlier try has adopted, is %s. This task has not made it and leaves it "
                "alone: it goes on running and billing. If nobody needs it, cancel it by hand.",
                job.id,
                job.status,
            )


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
    remember: Callable[[TaskJob], bool],
    log: logging.Logger,
    is_chosen: bool,
) -> tuple[FineTuneJob, bool]:
    """Return the job, and whether it is the task's to end: a job that took a chosen id meanwhile is not."""
    unclear = TaskJob(job_id, job_id, made=not is_chosen)
    for attempt in range(1, _MAX_POSTS + 1):
        switch.before_post(job_id)
        remember(unclear)
        asked_at = datetime.now(UTC)
        try:
            return _not_older(api.create(**request, job_id=job_id), asked_at), True
        except AtaiConflictError as error:
            switch.may_be([unclear])
            found = _look_again(api, job_id, after=error)
            if found is None:
                raise
            if is_chosen:
                _check_is_wanted(found, request)
            return found, not is_chosen
        except RetryableError as error:
            problem: AtaiError = error
        pause = _pause(problem, attempt=attempt, jitter=random.random())
        log.warning(
            "It is unclear whether job %s was created: %s. Looking it up in %.0f s.", job_id, problem, pause
        )
        time.sleep(pause)
        found = _look_again(api, job_id, after=problem)
        if found is not None:
            if is_chosen:
                _check_is_wanted(found, request)
            log.info("Job %s was created although the response was lost.", job_id)
            return _not_older(found, asked_at), True
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
