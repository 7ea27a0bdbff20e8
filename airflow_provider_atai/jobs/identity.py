"""The ids that a task chooses for its job: the same in every try of the same work. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_atai.api.job_request import LONGEST_JOB_ID

# A task that has gone through this many ended jobs is caught in a loop that costs money each time round.
MAX_GENERATIONS = 99

_DIGEST_LENGTH = 16
_SLUG_LENGTH = LONGEST_JOB_ID - _DIGEST_LENGTH - len("--") - len(str(MAX_GENERATIONS))


@dataclass(frozen=True)
class TaskJob:
    """
    A job of a task, whether it exists or not.

    :param asked: the id that the task asks the service for.
    :param id: the id that the service has given the job. It differs if the service makes its own ids.
    :param made: whether the job is the task's to end: its id follows from the task's work, or the task has
        made it. A job under an id of the author's own may be anybody's.
    """

    asked: str
    id: str
    made: bool

    @classmethod
    def from_store(cls, kept: Mapping[str, Any] | None) -> TaskJob | None:
        """Return what an earlier try has stored, None if that is nothing or not ours."""
        try:
            return None if kept is None else cls(**kept)
        except TypeError:
            return None


def jobs_of_task(
    ti: Any, request: Mapping[str, Any], *, job_id: str | None, reattach: bool, kept: TaskJob | None
) -> tuple[list[TaskJob], list[TaskJob]]:
    """
    Return the jobs that may be the task's, in the order in which they are used, and those it has left behind.

    :param ti: the task instance.
    :param request: the body of the create call without an id.
    :param job_id: the id that the DAG author has chosen, None if it follows from the work.
    :param reattach: whether a try goes on with the job of an earlier one.
    :param kept: what an earlier try has stored of its job.
    """
    ids, *earlier = [[job_id]] if job_id else _ids_of_tries(ti, request, reattach=reattach)
    own = own_jobs(ids, kept, ids_are_chosen=job_id is not None)
    return own, left_behind(kept, ids, [first for first, *_ in earlier])


def _ids_of_tries(ti: Any, request: Mapping[str, Any], *, reattach: bool) -> list[list[str]]:
    # Without reattach each try has ids of its own: those of this one, then those of the earlier ones.
    tries = [None] if reattach else range(ti.try_number, 0, -1)
    return [job_ids(ti, request, of_try=number) for number in tries]


def own_jobs(ids: Sequence[str], kept: TaskJob | None, *, ids_are_chosen: bool) -> list[TaskJob]:
    """
    Return the jobs that may be the task's, in the order in which they are used.

    :param ids: the ids that the task may ask for.
    :param kept: what an earlier try has stored of its job. The generations before it have ended.
    :param ids_are_chosen: whether the DAG author has chosen the id.
    """
    jobs = [TaskJob(job_id, job_id, made=not ids_are_chosen) for job_id in ids]
    if kept is None or kept.asked not in ids:
        return jobs
    return [kept, *jobs[ids.index(kept.asked) + 1 :]]


def left_behind(kept: TaskJob | None, ids: Sequence[str], earlier_ids: Sequence[str]) -> list[TaskJob]:
    """
    Return the jobs of earlier tries that this try does not go on with.

    :param kept: what an earlier try has stored of its job. It had another request if it asked for another id.
    :param ids: the ids that this try may ask for.
    :param earlier_ids: the ids that each earlier try has asked for first, if each try wants its own job.
    """
    known = [] if kept is None or kept.asked in ids else [kept]
    asked = {job.asked for job in known}
    return known + [TaskJob(job_id, job_id, made=True) for job_id in earlier_ids if job_id not in asked]


def job_ids(ti: Any, request: Mapping[str, Any], *, of_try: int | None = None) -> list[str]:
    """
    Return the ids that a task's job may have, in the order in which they are used.

    The next one is for when the job of the one before has ended without a model. They contain no clock and no
    random part, and nothing is stored: any worker, on any Airflow version, computes the same ids.

    :param ti: the task instance.
    :param request: the body of the create call without an id. Changed data or another model is other work.
    :param of_try: the number of a try that wants a job of its own; None if all tries share one.
    """
    map_index = -1 if ti.map_index is None else ti.map_index
    parts: list[Any] = [ti.dag_id, ti.run_id, ti.task_id, map_index, request]
    if of_try is not None:
        parts.append(of_try)
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(canonical.encode("ascii")).hexdigest()[:_DIGEST_LENGTH]
    stem = f"{_slug(str(request['name']))}-{digest}"
    return [f"{stem}-{generation}" for generation in range(1, MAX_GENERATIONS + 1)]


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return slug[:_SLUG_LENGTH].rstrip("-") or "job"
