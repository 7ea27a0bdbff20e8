"""Judges how tries ended, and how soon a waiting task noticed what had happened to its job. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

from tests.chaos.verdict_on_jobs import HEAD_START, TERMINAL, deadline_of, moment_of, targets

if TYPE_CHECKING:
    from tests.chaos.history import Crowd, History, Record, Stay, Try
    from tests.chaos.plan import Plan

# Airflow's timeout of the deferral, which is the backstop if the deadline does not fire, plus the longest
# pause between two polls.
_DEADLINE_SLACK = timedelta(minutes=12)
# A look at the job, its last metrics, and the way through the triggerer.
_TO_NOTICE = timedelta(seconds=60)
# An end is noticed one interval later. Reading the last metrics may take one bounded call.
_LATEST_EVENT = timedelta(seconds=45)
# A failed poll is followed by a pause of ten minutes at most.
_AFTER_TROUBLE = timedelta(minutes=12)
_SOON = timedelta(seconds=2)
_ENDED_BADLY = frozenset({"FAILED", "CANCELLED", "STOPPED"})
# Faults after which a retry can help.
_PASSING = frozenset(
    {
        *("server error", "request timeout", "rate limit", "cut response", "outage", "outage of the gateway"),
        *("dropped before the effect", "dropped after the effect", "gateway's 404", "gateway's refusal"),
    }
)
# A job that was asked to stop, or that is about to end.
_ENDING = TERMINAL | {"STOPPING", "FINALIZING"}
_FAILURES = ("failed", "skipped", "up_for_retry")


def overruns(plan: Plan, history: History) -> Iterator[str]:
    """Find tries that waited longer than ``timeout`` from the job's creation, and what a backstop adds."""
    timeout = plan.operator["timeout"]
    if timeout is None or plan.tampers_with_created_at:
        return
    for one in history.tries:
        made = [moment_of(job["created_at"]) for job in _jobs_of_task(plan, history)]
        made = [moment for moment in made if moment <= one.ended]
        if one.task != "create" or not one.waits or not made:
            continue
        deadline = made[-1] + timedelta(seconds=timeout)
        if any(job["status"] == "STOPPING" for job in one.jobs_before):
            # Its own timeout may be what stops it.
            deadline = max(deadline, one.started + timedelta(seconds=timeout))
        slack = _DEADLINE_SLACK + timedelta(seconds=one.downtime)
        if one.ended > max(one.started, deadline) + slack:
            yield f"task {one.task} waited until {one.ended}"


def _jobs_of_task(plan: Plan, history: History) -> list[Record]:
    return [job for job in history.jobs if job["id"] not in history.strangers or job["id"] == plan.own_job_id]


def too_early(plan: Plan, history: History) -> Iterator[str]:
    """Find tries that gave up before their deadline."""
    for one in history.tries:
        if not one.by_itself or not _is_timeout(one.error) or plan.tampers_with_created_at:
            continue
        limits = _limits(one, plan, history)
        if limits and one.ended < min(limits) - _SOON:
            yield f"task {one.task} timed out at {one.ended}, its deadline was {min(limits)}"


def _limits(one: Try, plan: Plan, history: History) -> list[datetime]:
    if one.task == "wait":
        first = min(other.started for other in history.tries if other.task == "wait")
        return [first + timedelta(seconds=plan.sensor["timeout"])]
    limits = []
    if plan.operator["timeout"] is not None:
        jobs = [job for job in _jobs_of_task(plan, history) if moment_of(job["created_at"]) <= one.ended]
        limits += [deadline_of(job, one.started, plan, history) for job in jobs[-1:]]
        limits += [deadline_of(job, one.ended, plan, history) for job in jobs[-1:]]
    if plan.execution_timeout is not None:
        limits.append(one.started + timedelta(seconds=plan.execution_timeout) - HEAD_START)
    return limits


def _is_timeout(error: BaseException | None) -> bool:
    names = [type(cause).__name__ for cause in _chain(error)]
    return "FineTuneJobTimeoutError" in names or "AirflowSensorTimeout" in names


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def false_reds(plan: Plan, history: History) -> Iterator[str]:
    """Find tasks that did not succeed although a look at the service would have shown that all is well."""
    for one in history.tries:
        jobs = [job for job in one.jobs if job["id"] not in history.strangers]
        if not one.by_itself or one.state not in _FAILURES or not jobs:
            continue
        job = jobs[-1]
        since = moment_of(job["updated_at"])
        if one.task == "tidy":
            is_well, since = job["status"] in _ENDING, one.started
        else:
            is_well = one.waits and job["status"] == "COMPLETED" and bool(job["inference_config_path"])
            is_well = is_well and since <= one.ended - _TO_NOTICE
        if is_well and not _is_disturbed(since, one.ended, history):
            yield f"task {one.task} ended {one.state} although {job['id']} is {job['status']}: {one.error}"


def useless_retries(plan: Plan, history: History) -> Iterator[str]:
    """Find sensors that are tried again although they have seen that their job ended badly."""
    bad = _ENDED_BADLY - {"STOPPED"} if plan.operator["accept_stopped"] else _ENDED_BADLY
    for one in history.tries:
        # The triggerer's loop also looks at the jobs of others who wait there.
        watched = [job for job in one.jobs if job["id"] not in history.strangers]
        looks = [look for look in _looks(history, one.started, one.ended) if targets(look, watched)]
        if one.task != "wait" or not _asks_for_a_retry(one) or not looks or looks[-1]["status"] != 200:
            continue
        for job in targets(looks[-1], watched):
            has_seen = moment_of(job["updated_at"]) <= moment_of(looks[-1]["time"])
            if job["status"] in bad and has_seen and looks[-1]["fault"] is None:
                yield f"task {one.task} is tried again although {job['id']} is {job['status']}"


def _asks_for_a_retry(one: Try) -> bool:
    return one.by_itself and one.state == "up_for_retry" and one.has_tries_left


def given_up(plan: Plan, history: History) -> Iterator[str]:
    """Find tasks that failed for good over a trouble that passes."""
    for one in history.tries:
        is_final = one.by_itself and one.state == "failed" and one.has_tries_left
        if not is_final or _is_timeout(one.error):
            continue
        looks = _looks(history, one.started, one.ended)
        kind = history.fault_kinds.get(looks[-1]["fault"]) if looks else None
        if _could_not_read_the_connection(one):
            kind = "connection away"
        if kind in _PASSING or kind == "connection away":
            yield f"task {one.task} is not tried again ({kind}): {one.error}"


def _could_not_read_the_connection(one: Try) -> bool:
    # A task that ends for another reason may fail to read it afterwards, for the link.
    is_the_reason = any(" connection " in str(error) for error in _chain(one.error))
    if not is_the_reason or one.last_unread is None or one.last_unread < one.started:
        return False
    return one.last_exchange is None or one.last_unread >= one.last_exchange


def doomed(plan: Plan, history: History) -> Iterator[str]:
    """Find tries that went on with a job that was stopping already, so that they could only fail."""
    if plan.operator["accept_stopped"] or plan.own_job_id is not None:
        return
    for one in history.tries:
        before = [job for job in one.jobs_before if job["id"] not in history.strangers]
        if one.task != "create" or not one.by_itself or not before or before[-1]["status"] != "STOPPING":
            continue
        names = [type(cause).__name__ for cause in _chain(one.error)]
        ids = [one.value, *(getattr(cause, "job_id", "") for cause in _chain(one.error))]
        has_failed = one.state == "success" or "FineTuneJobStoppedError" in names
        if has_failed and before[-1]["id"] in ids:
            yield f"task {one.task} went on with {before[-1]['id']}, which was STOPPING"


def silent(plan: Plan, history: History) -> Iterator[str]:
    """Find errors of a broken wait that do not say which job may run on and bill."""
    for one in history.tries:
        stays = [stay for stay in history.stays if one.started <= stay.began <= one.ended]
        jobs = [job for job in one.jobs if job["id"] not in history.strangers]
        if not one.by_itself or one.state not in _FAILURES or not jobs or one.task == "tidy":
            continue
        if jobs[-1]["status"] in _ENDING or not (stays or one.downtime):
            continue
        if "FineTuneJobNotFoundError" in [type(cause).__name__ for cause in _chain(one.error)]:
            continue
        said = " ".join(f"{cause} {getattr(cause, '__notes__', '')}" for cause in _chain(one.error))
        if jobs[-1]["id"] not in said or "bill" not in said:
            yield f"{jobs[-1]['id']} is {jobs[-1]['status']}, and the error says: {said}"


def late(plan: Plan, history: History) -> Iterator[str]:
    """Find waits in a triggerer that did not notice in time that their job had ended."""
    for stay in history.stays:
        if stay.error is not None:
            yield f"the wait for {stay.job_id} broke: {stay.error}"
            continue
        for job in history.jobs:
            if job["id"] == stay.job_id and _has_clearly_ended(job) and _is_late(stay, job, history):
                yield f"{job['id']} was {job['status']} at {job['updated_at']}, the wait ended {stay.ended}"


def _has_clearly_ended(job: Record) -> bool:
    return job["status"] in _ENDED_BADLY or (
        job["status"] == "COMPLETED" and bool(job["inference_config_path"])
    )


def _is_late(stay: Stay, job: Record, history: History) -> bool:
    since = max(moment_of(job["updated_at"]), stay.began)
    if stay.ended - since <= timedelta(seconds=stay.interval) + _LATEST_EVENT:
        return False
    return not _is_disturbed(since - _AFTER_TROUBLE, stay.ended, history)


def costly(plan: Plan, history: History) -> Iterator[str]:
    """Find times in which several waits made more requests than one list in pages, or one GET each."""
    for crowd in history.crowds:
        looks = _looks(history, crowd.began, crowd.ended)
        if _is_disturbed(crowd.began, crowd.ended, history):
            continue
        if len(looks) > _allowed(crowd, plan, history):
            seconds = (crowd.ended - crowd.began).total_seconds()
            yield f"{len(looks)} requests in {seconds:.0f} s for {crowd.waits} waits"


def _allowed(crowd: Crowd, plan: Plan, history: History) -> float:
    allowed, moment = 3.0 * crowd.waits + 10, crowd.began
    while moment <= crowd.ended + timedelta(seconds=crowd.interval):
        active = sum(_is_active(job, moment) for job in history.jobs)
        waits, pages = min(crowd.waits, active + 1), ceil(active / (plan.odd.longest_page or 1000))
        allowed += (waits if plan.odd.ignores_offset else min(waits, pages)) + 1
        moment += timedelta(seconds=crowd.interval)
    return allowed


def _is_active(job: Record, moment: datetime) -> bool:
    has_ended = job["status"] in TERMINAL and moment_of(job["updated_at"]) <= moment
    return moment_of(job["created_at"]) <= moment and not has_ended


def _is_disturbed(since: datetime, until: datetime, history: History) -> bool:
    """Return whether service or connection gave trouble in a time."""
    if any(begun <= until and since <= over for begun, over in history.troubles):
        return True
    entries = _looks(history, since, until)
    return any(entry["fault"] is not None or entry["status"] in (None, 401) for entry in entries)


def _looks(history: History, since: datetime, until: datetime) -> Sequence[Record]:
    """Return what was asked about jobs in a time, metrics aside."""
    return [
        entry
        for entry in history.log
        if "/fine-tune/" in entry["path"]
        and since <= moment_of(entry["time"]) <= until
        and not entry["path"].endswith("/metrics")
    ]
