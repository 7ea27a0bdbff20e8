"""
Judges whether a life kept the promises, from the service's own record of jobs and requests. Pure.

The operator's own view counts only if others rely on it: the task's state and the job id that it returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.history import Green, History, Kill, Record, Wait
    from tests.chaos.plan import Plan

_TERMINAL = frozenset({"COMPLETED", "STOPPED", "CANCELLED", "FAILED"})
# Airflow's timeout of the deferral, which is the backstop if the deadline does not fire, plus the longest
# pause between two polls.
_DEADLINE_SLACK = timedelta(minutes=12)
# The provider's deadline may come this much before Airflow's execution_timeout.
_HEAD_START = timedelta(seconds=60)


@dataclass
class Verdict:
    """
    What one life comes to.

    :param jobs: how many jobs the life created.
    :param justified: how many of them were needed.
    :param broken: each broken promise and what happened.
    """

    jobs: int
    justified: int
    broken: list[tuple[str, str]] = field(default_factory=list)


DUPLICATE = "duplicate"
LOST = "lost job"
FALSE_GREEN = "false green"
LEFT_RUNNING = "job left running after a kill"
OVERRUN = "deadline overrun"
ENDED = "job ended without a reason"
TROUBLE = "life that did not end"
PROMISES = (DUPLICATE, LOST, FALSE_GREEN, LEFT_RUNNING, OVERRUN, ENDED, TROUBLE)


def judge(plan: Plan, history: History) -> Verdict:
    """Return which promises the life broke."""
    duplicates = unjustified_jobs(plan, history)
    broken = [(DUPLICATE, f"{job['id']} was created without need") for job in duplicates]
    broken += [
        (LOST, f"{job['id']} is {job['status']}, and no task goes on with it") for job in lost_jobs(history)
    ]
    broken += [
        (FALSE_GREEN, f"task {green.task} succeeded with {green.value}")
        for green in history.greens
        if not _is_true(green, plan.operator["accept_stopped"])
    ]
    broken += [
        (LEFT_RUNNING, f"{job['id']} was {job['status']} after on_kill ({kill.action}, {kill.why})")
        for kill in history.kills
        for job in left_running(kill)
    ]
    broken += [
        (OVERRUN, f"task {wait.task} waited until {wait.ended}")
        for wait in history.waits
        if _overran(wait, plan, history.jobs)
    ]
    broken += [
        (ENDED, f"{entry['method']} {entry['path']} at {entry['time']}")
        for entry in ended_without_reason(plan, history)
    ]
    if history.trouble:
        broken.append((TROUBLE, history.trouble))
    return Verdict(len(history.jobs), len(history.jobs) - len(duplicates), broken)


def unjustified_jobs(plan: Plan, history: History) -> list[Record]:
    """Return the jobs created while an earlier one was running or had produced a model."""
    accepts_stopped = plan.operator["accept_stopped"]
    jobs = history.jobs
    return [job for number, job in enumerate(jobs) if not _is_justified(job, jobs[:number], accepts_stopped)]


def _is_justified(job: Record, earlier: Sequence[Record], accepts_stopped: bool) -> bool:
    """Return whether every earlier job had ended without a model when this one was created."""
    useless = {"FAILED", "CANCELLED"} if accepts_stopped else {"FAILED", "CANCELLED", "STOPPED"}
    return all(
        other["status"] in useless and _moment(other["updated_at"]) <= _moment(job["created_at"])
        for other in earlier
    )


def lost_jobs(history: History) -> list[Record]:
    """
    Return the running jobs that no task will come back to.

    After a success no task comes back to any job. Otherwise a task resumes the last job only.
    """
    jobs = history.jobs if history.state == "success" else history.jobs[:-1]
    return [job for job in jobs if job["status"] not in _TERMINAL]


def _is_true(green: Green, accepts_stopped: bool) -> bool:
    job_id = green.value.get("job_id") if isinstance(green.value, dict) else green.value
    of_that_id = [job for job in green.jobs if job["id"] == job_id]
    if not of_that_id:
        return False
    job = of_that_id[-1]
    if not green.waited:
        return True
    if job["status"] == "STOPPED":
        return accepts_stopped
    return job["status"] == "COMPLETED" and bool(job["inference_config_path"])


def left_running(kill: Kill) -> list[Record]:
    """Return the jobs that still run after a kill that should and could have ended them."""
    if kill.action == "leave" or not kill.reachable or kill.jobs is None:
        return []
    if any(entry["fault"] is not None for entry in kill.log):
        return []
    ending = _TERMINAL | {"STOPPING"}
    if kill.action == "stop":
        # The service may refuse to stop a job that is about to end.
        ending |= {"FINALIZING"}
    return [job for job in kill.jobs if job["status"] not in ending]


def _overran(wait: Wait, plan: Plan, jobs: Sequence[Record]) -> bool:
    timeout = plan.operator["timeout"]
    if wait.task != "create" or timeout is None or plan.tampers_with_created_at:
        return False
    made = [_moment(job["created_at"]) for job in jobs if _moment(job["created_at"]) <= wait.ended]
    if not made:
        return False
    deadline = made[-1] + timedelta(seconds=timeout)
    slack = _DEADLINE_SLACK + timedelta(seconds=wait.downtime)
    return wait.ended > max(wait.started, deadline) + slack


def ended_without_reason(plan: Plan, history: History) -> list[Record]:
    """Return the stop and cancel requests that neither a kill nor a deadline explains."""
    limits = []
    if plan.operator["timeout"] is not None:
        limits += [
            _moment(job["created_at"]) + timedelta(seconds=plan.operator["timeout"]) for job in history.jobs
        ]
    if plan.execution_timeout is not None:
        begun = [wait.started for wait in history.waits]
        limits += [moment + timedelta(seconds=plan.execution_timeout) - _HEAD_START for moment in begun]
    deadline = min(limits, default=None)

    def has_a_reason(moment: datetime) -> bool:
        if any(begun <= moment <= over for begun, over in history.killings):
            return True
        return plan.tampers_with_created_at or (deadline is not None and moment >= deadline)

    return [
        entry
        for entry in history.log
        if entry["method"] == "PUT" and not has_a_reason(_moment(entry["time"]))
    ]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
