"""Judges what a task has told the pages of Airflow's UI about its job. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.chaos.history import History, Try
    from tests.chaos.plan import Plan


def pages_of_another_job(plan: Plan, history: History) -> Iterator[str]:
    """Find tries whose ``atai_job`` does not name the job that the try ended over, which may bill."""
    for one in history.tries:
        named = _named_by(one)
        if one.told is None or not one.by_itself or one.task == "tidy" or not named:
            continue
        shown = (one.told.get("atai_job") or {}).get("job_id")
        if shown not in named and not (shown is None and _ended_before_it_told(one, plan)):
            yield f"task {one.task} shows {shown}, and ended over {' and '.join(sorted(named))}"


def untrue_statuses(plan: Plan, history: History) -> Iterator[str]:
    """Find tries that have told of another job's statuses, or of a success without its end."""
    for one in history.tries:
        told, job = ((one.told or {}).get(key) for key in ("atai_statuses", "atai_job"))
        if told is None or one.task == "tidy":
            continue
        if job is not None and job["job_id"] != told["job_id"]:
            yield f"task {one.task} tells of {told['job_id']} as its job {job['job_id']}"
        times = [entry["at"] for entry in told["statuses"]]
        if times != sorted(times) or len(times) > 100:
            yield f"task {one.task} tells {len(times)} statuses in this order: {times}"
        seen = [entry["status"] for entry in told["statuses"] if "status" in entry]
        has_ended = one.by_itself and one.waits and one.state == "success"
        if (
            has_ended
            and seen[-1:] not in (["COMPLETED"], ["STOPPED"])
            and not _ended_before_it_told(one, plan)
        ):
            yield f"task {one.task} is green, and its page shows {seen}"


def _named_by(one: Try) -> set[str]:
    """Return the jobs that a try itself names, by what it returned or raised."""
    if one.state == "success":
        value: Any = one.value.get("job_id") if isinstance(one.value, dict) else one.value
        return {value} if isinstance(value, str) else set()
    named, error = set(), one.error
    while error is not None:
        # Without a look at it, the job is a guess.
        if getattr(error, "status", None) not in (None, "never read"):
            named.add(str(getattr(error, "job_id", "")))
        error = error.__cause__
    return named - {""}


def _ended_before_it_told(one: Try, plan: Plan) -> bool:
    # No end waits for what a trigger tells, and the triggerer of a life ends with the trigger.
    return one.task == "wait" and plan.shape == "sensor without workers"
