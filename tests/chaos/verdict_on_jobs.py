"""Judges what became of the jobs: who made them, who ended them, and what was called a success. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.history import Green, History, Kill, Record
    from tests.chaos.plan import Plan

TERMINAL = frozenset({"COMPLETED", "STOPPED", "CANCELLED", "FAILED"})
# The provider's deadline may come this much before Airflow's execution_timeout.
HEAD_START = timedelta(seconds=60)


def moment_of(text: str) -> datetime:
    """Return the time that a record or the log names."""
    return datetime.fromisoformat(text)


def has_something_to_use(job: Record) -> bool:
    """Return whether a STOPPED job has left a checkpoint or an inference config."""
    return bool(job.get("checkpoints") or job["inference_config_path"])


def unjustified_jobs(plan: Plan, history: History) -> list[Record]:
    """Return the jobs created while an earlier one was running or had produced a model."""
    jobs = history.own_jobs
    return [job for number, job in enumerate(jobs) if not _is_justified(job, jobs[:number], plan, history)]


def _is_justified(job: Record, earlier: Sequence[Record], plan: Plan, history: History) -> bool:
    """Return whether every earlier job of the same work had ended without a model by then."""
    made_at = moment_of(job["created_at"])
    return all(
        (_was_useless(other, plan) and moment_of(other["updated_at"]) <= made_at)
        or _is_other_work(other, job, plan, history)
        or not _could_be_known(other, made_at, plan, history)
        for other in earlier
    )


def _was_useless(job: Record, plan: Plan) -> bool:
    if job["status"] == "STOPPED":
        return not (plan.operator["accept_stopped"] and has_something_to_use(job))
    return job["status"] in ("FAILED", "CANCELLED")


def _is_other_work(other: Record, job: Record, plan: Plan, history: History) -> bool:
    """Return whether the author wanted another job than the earlier one."""
    earlier, later = moment_of(other["created_at"]), moment_of(job["created_at"])
    if not plan.reattaches:
        begun = (one.started for one in history.tries if one.task == "create")
        return any(earlier < moment <= later for moment in begun)
    return history.changed_at is not None and earlier < history.changed_at <= later


def _could_be_known(job: Record, until: datetime | None, plan: Plan, history: History) -> bool:
    """Return whether a later try could know of a job. An id of the service's own has to be remembered."""
    return not plan.odd.makes_own_ids or history.was_remembered(job, until)


def jobs_beside(plan: Plan, history: History) -> Iterator[str]:
    """
    Find jobs that ran on beside a later one that the author wanted instead.

    The earlier job has to be ended if it is known: it was stored, or its id follows from its try.
    """
    jobs = history.own_jobs
    for number, job in enumerate(jobs):
        made_at = moment_of(job["created_at"])
        for other in jobs[:number]:
            if not _is_other_work(other, job, plan, history) or plan.operator["kill_action"] == "leave":
                continue
            has_ended = other["status"] in TERMINAL and moment_of(other["updated_at"]) <= made_at
            follows = not (plan.reattaches or plan.odd.makes_own_ids or history.changed_at)
            is_known = follows or history.was_remembered(other, made_at)
            if not has_ended and is_known and not _was_tried(other, history):
                yield f"{other['id']} was not asked to end before {job['id']} was created"


def _was_tried(job: Record, history: History) -> bool:
    """Return whether somebody asked the service to end a job, or could not because of a fault."""
    path = f"/fine-tune/jobs/{job['id']}"
    about = [entry for entry in history.log if path in entry["path"]]
    return any(entry["method"] == "PUT" or entry["fault"] is not None for entry in about)


def lost_jobs(plan: Plan, history: History) -> Iterator[str]:
    """
    Find running jobs that no task will come back to.

    After a success no task comes back to any job. Otherwise a task resumes the last job only.
    """
    jobs = history.own_jobs
    for number, job in enumerate(jobs):
        later = jobs[number + 1 :]
        if job["status"] in TERMINAL or (history.state != "success" and not later):
            continue
        if any(_is_other_work(job, other, plan, history) for other in later):
            continue
        if later and not _could_be_known(job, moment_of(later[0]["created_at"]), plan, history):
            continue
        yield f"{job['id']} is {job['status']}, and no task goes on with it"


def false_greens(plan: Plan, history: History) -> Iterator[str]:
    """Find successes without a model."""
    for green in history.greens:
        if green.task != "tidy" and not _is_true(green, plan):
            yield f"task {green.task} succeeded with {green.value}"


def _is_true(green: Green, plan: Plan) -> bool:
    job_id = green.value.get("job_id") if isinstance(green.value, dict) else green.value
    of_that_id = [job for job in green.jobs if job["id"] == job_id]
    if not of_that_id:
        return False
    job = of_that_id[-1]
    if not green.waited:
        return True
    if job["status"] == "STOPPED":
        return bool(plan.operator["accept_stopped"]) and has_something_to_use(job)
    return job["status"] == "COMPLETED" and bool(job["inference_config_path"])


def left_running(plan: Plan, history: History) -> Iterator[str]:
    """Find jobs that still run after a kill that should and could have ended them."""
    for kill in history.kills:
        for job in _runs_after(kill, plan, history):
            yield f"{job['id']} was {job['status']} after on_kill ({kill.action}, {kill.why})"


def _runs_after(kill: Kill, plan: Plan, history: History) -> list[Record]:
    if kill.action == "leave" or not kill.reachable or kill.jobs is None:
        return []
    if any(entry["fault"] is not None for entry in kill.log):
        return []
    ending = TERMINAL | {"STOPPING"}
    if kill.action == "stop":
        # The service may refuse to stop a job that is about to end.
        ending |= {"FINALIZING"}
    own = [job for job in kill.jobs if job["id"] not in history.strangers]
    if not plan.reattaches or history.changed_at is not None:
        # Of the others, those that run are found as jobs beside the last one.
        own = [job for job in own[-1:] if history.was_remembered(job)]
    if not plan.reattaches and kill.why not in ("mark failed", "mark success"):
        # There may be a next try, which ends the jobs of the earlier ones.
        own = [job for job in own if _is_of_the_killed_try(job, kill, history)]
    return [job for job in own if job["status"] not in ending and _could_be_known(job, None, plan, history)]


def _is_of_the_killed_try(job: Record, kill: Kill, history: History) -> bool:
    begun = [one.started for one in history.tries if kill.at is None or one.started <= kill.at]
    return not begun or moment_of(job["created_at"]) >= begun[-1]


def wrong_actions(plan: Plan, history: History) -> Iterator[str]:
    """Find kills that did something to a job which the author had not chosen for them."""
    for kill in history.kills:
        for entry in kill.log:
            verb = entry["path"].rpartition("/")[2]
            if entry["method"] != "PUT" or verb == kill.action:
                continue
            is_deadlines = verb == plan.operator["timeout_action"] and _is_past_deadline(entry, plan, history)
            if kill.why == "execution timeout" or not is_deadlines:
                yield f"{entry['path']} although {kill.action} was chosen ({kill.why})"


def ended_without_reason(plan: Plan, history: History) -> Iterator[str]:
    """Find stop and cancel requests that neither a kill nor a deadline nor another request explains."""
    for entry in history.log:
        if entry["method"] != "PUT" or plan.tampers_with_created_at:
            continue
        moment = moment_of(entry["time"])
        if any(begun <= moment <= over for begun, over in history.killings):
            continue
        if history.tidied_from is not None and moment >= history.tidied_from:
            continue
        if not _is_past_deadline(entry, plan, history) and not _is_superseded(entry, plan, history):
            yield f"{entry['method']} {entry['path']} at {entry['time']}"


def _is_past_deadline(entry: Record, plan: Plan, history: History) -> bool:
    moment, limits = moment_of(entry["time"]), []
    if plan.execution_timeout is not None:
        limit = timedelta(seconds=plan.execution_timeout) - HEAD_START
        limits += [one.started + limit for one in history.tries] + [_newest_start(history, moment) + limit]
    if plan.operator["timeout"] is not None:
        limits += [deadline_of(job, moment, plan, history) for job in targets(entry, history.jobs)]
    return any(moment >= limit for limit in limits)


def _newest_start(history: History, moment: datetime) -> datetime:
    """Return when the try began that has not ended by then: as the one before it ended, or with the life."""
    over = [one.ended for one in history.tries if one.ended <= moment]
    return max(over, default=moment - timedelta(days=1))


def deadline_of(job: Record, moment: datetime, plan: Plan, history: History) -> datetime:
    """
    Return when the ``timeout`` of a job passes for the try that runs at a moment.

    A try that has not made the job itself knows only the service's own times, which may be behind.
    """
    made_at = moment_of(job["created_at"])
    deadline = made_at + timedelta(seconds=plan.operator["timeout"])
    running = [one for one in history.tries if one.task == "create" and one.started <= moment]
    if running and running[-1].started <= made_at and job["id"] not in history.strangers:
        return deadline
    return deadline - timedelta(seconds=plan.odd.clock_behind)


def _is_superseded(entry: Record, plan: Plan, history: History) -> bool:
    """Return whether a request is about an own job that a later try does not want any more."""
    moment = moment_of(entry["time"])
    for job in targets(entry, history.own_jobs):
        made_at = moment_of(job["created_at"])
        if history.changed_at is not None and made_at < history.changed_at <= moment:
            return True
        begun = (one.started for one in history.tries if one.task == "create")
        if not plan.reattaches and any(made_at < start <= moment for start in begun):
            return True
    return False


def targets(entry: Record, jobs: Sequence[Record]) -> list[Record]:
    """Return the jobs that a logged request is about."""
    parts = entry["path"].split("/")
    return [job for job in jobs if job["id"] in parts]


def strangers_ended(plan: Plan, history: History) -> Iterator[str]:
    """Find requests to end a job that the task has not made and may not have adopted."""
    for entry in history.log:
        strangers = [job for job in targets(entry, history.jobs) if job["id"] in history.strangers]
        if entry["method"] != "PUT" or not strangers:
            continue
        moment = moment_of(entry["time"])
        is_adopted = plan.odd.stranger == "same name" and strangers[0]["id"] == plan.own_job_id
        has_changed = history.changed_at is not None and moment >= history.changed_at
        # The trigger of a cleared task learns late that it was killed. Its try had adopted the job.
        is_late = any(begun <= moment <= over for begun, over in history.trigger_killings)
        if not is_adopted or (has_changed and not is_late):
            yield f"{entry['path']} at {entry['time']}"
