"""
What a kill does to a task's job, whatever the task is doing when it comes.

Airflow calls ``on_kill`` in the middle of anything, and the process goes on for some seconds. In them it must
not make a job, and a job whose POST was under way must get what the DAG author chose. Two invariants follow:

- no POST after a kill: :meth:`KillSwitch.before_post` raises;
- no job survives its POST by accident: :meth:`KillSwitch.after_submission` repeats the kill.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from airflow_provider_atai.errors import TaskKilledError
from airflow_provider_atai.jobs.ending import HasFineTuneApi, JobAction, end_last_job

_KILLED = "This task was killed while it was creating its fine-tune job."


class Cloneable(Protocol):
    """What a kill needs of a hook."""

    def clone(self) -> HasFineTuneApi:
        """Return a hook of the same connection as it was read, with an HTTP session of its own."""


class KillSwitch:
    """
    Knows which job is the task's, and ends it if the task is killed.

    :param action: what a kill does to the job.
    :param reattach: whether the next try of the task adopts the job, so that it is left to that try.
    :param log: the task's logger.
    """

    def __init__(self, action: JobAction, *, reattach: bool, log: logging.Logger) -> None:
        self._action: JobAction = action
        self._reattach = reattach
        self._log = log
        self._ids: Sequence[str] = ()
        # What the kill does to the job; None until there is a kill.
        self._end: Callable[[], None] | None = None

    def may_be(self, ids: Iterable[str]) -> None:
        """Remember the ids that the task's job may have, in the order in which they are used."""
        self._ids = list(ids)

    def must_be(self, job_id: str) -> None:
        """Remember the id of the task's job."""
        self._ids = [job_id]

    def before_post(self, job_id: str) -> None:
        """Let the task ask the service for a job with this id, or raise if the task was killed."""
        if self._end is not None:
            raise TaskKilledError(_KILLED)
        self.must_be(job_id)

    def after_submission(self, job_id: str) -> None:
        """Let the task proceed with the job that it has now, or end that and raise if the task was killed."""
        self.must_be(job_id)
        if self._end is not None:
            # The POST was under way when the kill came, so the kill could not find the job.
            self._end()
            raise TaskKilledError(_KILLED)

    def pull(self, hook: Cloneable, is_tried_again: Callable[[], bool]) -> None:
        """Do to the task's job what the DAG author chose, without waiting for it to take effect."""

        def end() -> None:
            if self._action != "leave" and self._reattach and is_tried_again():
                self._log.info("This task is tried again. Its job is left to the next try.")
                return
            # The interrupted code may be in the middle of a call of the task's own hook, or of asking
            # Airflow for the connection. A clone uses neither.
            end_last_job(hook.clone(), self._ids, self._action, log=self._log)

        self._end = end
        end()
