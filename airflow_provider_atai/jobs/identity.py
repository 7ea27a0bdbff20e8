"""The id that a task chooses for its job: the same in every try of the same work. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

# The create-job page allows ids of 1 to 64 characters.
MAX_ID_LENGTH = 64
# A task that has gone through this many ended jobs is caught in a loop that costs money each time round.
MAX_GENERATIONS = 99

_DIGEST_LENGTH = 16
_SLUG_LENGTH = MAX_ID_LENGTH - _DIGEST_LENGTH - len("--") - len(str(MAX_GENERATIONS))


class TaskInstance(Protocol):
    """What identifies a task's work."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int | None
    try_number: int


@dataclass(frozen=True)
class JobIdentity:
    """
    The ids of a task's job, generation by generation.

    :param stem: the id without its generation.
    """

    stem: str

    def generations(self) -> Iterator[str]:
        """Yield the ids to try: the next one if the job of the one before has ended without a model."""
        for generation in range(1, MAX_GENERATIONS + 1):
            yield f"{self.stem}-{generation}"


def job_identity(
    *,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    request: Mapping[str, Any],
    try_number: int | None = None,
) -> JobIdentity:
    """
    Compute the identity of a task's job.

    It contains no clock and no random part, and nothing is stored: any worker, on any Airflow version,
    computes the same id.

    :param dag_id: the DAG.
    :param run_id: the DAG run.
    :param task_id: the task.
    :param map_index: the index of a mapped task, -1 for one that is not mapped.
    :param request: the body of the create call without an id. Changed data or another model is other work.
    :param try_number: passed only by a task that wants a new job in each try.
    """
    parts: list[Any] = [dag_id, run_id, task_id, map_index, request]
    if try_number is not None:
        parts.append(try_number)
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(canonical.encode("ascii")).hexdigest()[:_DIGEST_LENGTH]
    return JobIdentity(f"{_slug(str(request['name']))}-{digest}")


def job_ids(ti: TaskInstance, request: Mapping[str, Any], *, reattach: bool) -> list[str]:
    """
    Return the ids that a task's job may have, generation by generation.

    :param ti: Airflow's task instance.
    :param request: as for :func:`job_identity`.
    :param reattach: whether a try adopts the job of an earlier try.
    """
    identity = job_identity(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        request=request,
        try_number=None if reattach else ti.try_number,
    )
    return list(identity.generations())


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return slug[:_SLUG_LENGTH].rstrip("-") or "job"
