"""
Judges whether a life kept the promises, from the service's own record of jobs and requests. Pure.

The operator's own view counts only if others rely on it: the task's state, the job id that it returns, and
what an error tells whoever is called at night.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos import verdict_on_jobs as on_jobs
from tests.chaos import verdict_on_pages as on_pages
from tests.chaos import verdict_on_tries as on_tries

if TYPE_CHECKING:
    from tests.chaos.history import History
    from tests.chaos.plan import Plan


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
BESIDE = "two jobs at a time"
LOST = "lost job"
FALSE_GREEN = "false green"
FALSE_RED = "red although all is well"
LEFT_RUNNING = "job left running after a kill"
WRONG_ACTION = "other action than the author chose"
OVERRUN = "deadline overrun"
EARLY = "deadline too early"
ENDED = "job ended without a reason"
STRANGERS = "somebody else's job ended"
USELESS_RETRY = "retry that cannot help"
GAVE_UP = "given up over a passing trouble"
DOOMED = "adopted a job that could only fail"
SILENT = "error that hides a running job"
LATE = "end noticed too late"
COSTLY = "more requests than documented"
PAGE = "page that shows another job"
UNTRUE = "page with statuses that are not so"
TROUBLE = "life that did not end"

_JUDGES: dict[str, Callable[[Plan, History], Iterable[str]]] = {
    BESIDE: on_jobs.jobs_beside,
    LOST: on_jobs.lost_jobs,
    FALSE_GREEN: on_jobs.false_greens,
    LEFT_RUNNING: on_jobs.left_running,
    WRONG_ACTION: on_jobs.wrong_actions,
    ENDED: on_jobs.ended_without_reason,
    STRANGERS: on_jobs.strangers_ended,
    OVERRUN: on_tries.overruns,
    EARLY: on_tries.too_early,
    FALSE_RED: on_tries.false_reds,
    USELESS_RETRY: on_tries.useless_retries,
    GAVE_UP: on_tries.given_up,
    DOOMED: on_tries.doomed,
    SILENT: on_tries.silent,
    LATE: on_tries.late,
    COSTLY: on_tries.costly,
    PAGE: on_pages.pages_of_another_job,
    UNTRUE: on_pages.untrue_statuses,
}
PROMISES = (DUPLICATE, *_JUDGES, TROUBLE)


def judge(plan: Plan, history: History) -> Verdict:
    """Return which promises the life broke."""
    duplicates = on_jobs.unjustified_jobs(plan, history)
    broken = [(DUPLICATE, f"{job['id']} was created without need") for job in duplicates]
    broken += [(promise, what) for promise, find in _JUDGES.items() for what in find(plan, history)]
    if history.trouble:
        broken.append((TROUBLE, history.trouble))
    made = len(history.own_jobs)
    return Verdict(made, made - len(duplicates), broken)
