"""Ends a job from outside: stop, cancel, or leave it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Protocol

from airflow_provider_atai.api.fine_tune import ENDED_WITHOUT_MODEL
from airflow_provider_atai.errors import (
    AtaiAuthenticationError,
    AtaiBadRequestError,
    AtaiConflictError,
    AtaiGatewayRefusalError,
    AtaiNotFoundError,
    AtaiPermissionError,
)

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneApi, FineTuneJob

# Airflow kills a task, or gives up on a trigger, that takes too long to end: the last call must be short.
_KILL_TIMEOUT = 10.0
# Airflow 3 sends a SIGKILL five seconds after its SIGTERM. Asking for the task's state may take two of them.
SECONDS_TO_READ = 2.0

JobAction = Literal["cancel", "stop", "leave"]
ACTIONS: tuple[JobAction, ...] = ("cancel", "stop", "leave")


class HasFineTuneApi(Protocol):
    """Whatever offers the calls on jobs, such as a hook."""

    @property
    def fine_tune(self) -> FineTuneApi:
        """The calls on jobs."""

    def forget_connection(self) -> None:
        """Read the connection again at the next call."""


def check_action(value: object, argument: str) -> None:
    """Check a kill or timeout action; raise ValueError if it is not one of :data:`ACTIONS`."""
    if value not in ACTIONS:
        raise ValueError(
            f'{argument} must be "cancel" (end the job at once), "stop" (gracefully, keeping the latest '
            f'checkpoint) or "leave" (let it run and bill), not {value!r}.'
        )


def end_job(
    owner: HasFineTuneApi, job_id: str, action: JobAction, *, log: logging.Logger, killed: bool = False
) -> str:
    """
    Do to a job what the DAG author chose.

    :param owner: the hook; reading its connection is part of what may go wrong.
    :param job_id: the job.
    :param action: what to do.
    :param log: the task's logger.
    :param killed: whether the task is killed, so that one short attempt has to do.
    :return: a sentence for the log and the error message. It never raises, because the task is ending
        anyway.
    """
    if action == "leave":
        sentence = f"Job {job_id} was left as it is: it goes on running and billing."
    else:
        _, sentence = _end(owner, job_id, action, killed=killed)
    log.info("%s", sentence)
    return sentence


def end_last_job(
    owner: HasFineTuneApi, job_ids: Iterable[str], action: JobAction, *, log: logging.Logger
) -> None:
    """
    Do to the job of a killed task what the DAG author chose if only candidates for its id are known.

    The other parameters are those of :func:`end_job`.

    :param job_ids: the ids that the job may have, in the order in which they are used: the next one only if
        the job of the one before has ended without a model.
    """
    if action == "leave":
        log.info("The task's job, if there is one, is left as it is: it goes on running and billing.")
        return
    for job_id in job_ids:
        job, sentence = _end(owner, job_id, action, killed=True)
        log.info("%s", sentence)
        if job is None or job.status not in ENDED_WITHOUT_MODEL:
            return


def request_end(api: FineTuneApi, job_id: str, action: Literal["cancel", "stop"]) -> FineTuneJob:
    """
    Stop or cancel a job; a terminal one is fine.

    :raises AtaiError: the service did not accept the request, so the job may still run.
    """
    call = api.cancel if action == "cancel" else api.stop
    try:
        return call(job_id)
    except (AtaiConflictError, AtaiBadRequestError):
        # How the service refuses to end a terminal job is not documented; 409 is likely.
        job = api.get(job_id)
        if not job.is_terminal and job.status != "STOPPING":
            raise
        return job


def _end(
    owner: HasFineTuneApi, job_id: str, action: Literal["cancel", "stop"], *, killed: bool
) -> tuple[FineTuneJob | None, str]:
    from airflow_provider_atai.compat.threads import within

    def ask(api: FineTuneApi) -> FineTuneJob:
        if killed:
            api = api.with_options(timeout=_KILL_TIMEOUT, max_attempts=1)
        return request_end(api, job_id, action)

    try:
        try:
            job = ask(owner.fine_tune)
        except (AtaiAuthenticationError, AtaiPermissionError, AtaiGatewayRefusalError):
            # The key may have been rotated while the job ran.
            owner.forget_connection()
            job = ask(within(SECONDS_TO_READ, lambda: owner.fine_tune) if killed else owner.fine_tune)
    except Exception as error:
        if isinstance(error, AtaiNotFoundError):
            return None, f"There is no job {job_id} to {action}."
        return None, (
            f"The attempt to {action} job {job_id} failed ({error}): it may still run and bill. "
            f"{action.capitalize()} it by hand."
        )
    return job, f"Asked the service to {action} job {job_id}; its status is {job.status}."
