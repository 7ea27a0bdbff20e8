"""
What a kill does to a task's job, whatever the task is doing when it comes.

Airflow calls ``on_kill`` in the middle of anything, and the process goes on for some seconds. In them it must
not make a job, and a job whose POST was under way must get what the DAG author chose. Three invariants:

- no POST after a kill: :meth:`KillSwitch.before_post` raises;
- no job survives its POST by accident: :meth:`KillSwitch.after_submission` repeats the kill;
- no job of somebody else is ended: until a look-up has shown whose job an id of the author's own names, a
  kill leaves it alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from airflow_provider_atai.errors import TaskKilledError
from airflow_provider_atai.jobs.ending import (
    SECONDS_TO_READ,
    HasFineTuneApi,
    JobAction,
    end_job,
    end_last_job,
)
from airflow_provider_atai.jobs.identity import TaskJob

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
        # One attribute, so that a kill in the middle of a change sees the old jobs or the new ones.
        self._jobs: tuple[TaskJob, ...] = ()
        self._left_behind: tuple[TaskJob, ...] = ()
        # What the kill does to the job; None until there is a kill.
        self._end: Callable[[], None] | None = None

    def may_be(self, jobs: Iterable[TaskJob], left_behind: Iterable[TaskJob] = ()) -> None:
        """
        Remember the jobs that may be the task's.

        :param jobs: in the order in which they are used.
        :param left_behind: the jobs of earlier tries that this one is to end before it makes its own.
        """
        self._jobs, self._left_behind = tuple(jobs), tuple(left_behind)

    def must_be(self, job_id: str) -> None:
        """Remember the id of the task's job, which it has made or adopted."""
        self._jobs, self._left_behind = (TaskJob(job_id, job_id, made=True),), ()

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

    def pull(
        self, hook: Cloneable, is_tried_again: Callable[[], bool], *, action: JobAction | None = None
    ) -> None:
        """
        Do to the task's job what the DAG author chose, without waiting for it to take effect.

        :param action: what to do instead of the kill action.
        """
        from airflow_provider_atai.compat.threads import within

        chosen = action or self._action

        def end() -> None:
            if chosen != "leave" and self._reattach and is_tried_again():
                self._log.info("This task is tried again. Its job is left to the next try.")
                return
            if chosen != "leave" and not all(job.made for job in self._jobs):
                self._log.warning(
                    "This task ends before the service has shown whose job %s is, so it was left "
                    "alone. If there is such a job and it is this task's, it goes on running and billing: "
                    "%s it by hand.",
                    self._jobs[0].id,
                    chosen,
                )
                return
            job_ids, earlier = (
                [job.id for job in self._jobs],
                [job.id for job in self._left_behind if job.made],
            )
            try:
                # The interrupted code may be in the middle of a call of the task's own hook, or hold a lock
                # that reading the connection needs. A clone in another thread uses neither.
                owner = within(SECONDS_TO_READ, hook.clone)
            except Exception as error:
                self._log.error(
                    "The connection could not be read (%s), so nothing was done to this task's job. If there "
                    "is one, it goes on running and billing: %s %s by hand.",
                    error,
                    chosen,
                    ", ".join([*job_ids[:1], *earlier]),
                )
                return
            end_last_job(owner, job_ids, chosen, log=self._log)
            for job_id in earlier:
                end_job(owner, job_id, chosen, log=self._log, killed=True)

        self._end = end
        end()
