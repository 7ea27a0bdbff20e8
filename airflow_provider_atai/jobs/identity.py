"""The ids that a task chooses for its job: the same in every try of the same work. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_atai.api.job_request import LONGEST_JOB_ID

# A task that has gone through this many ended jobs is caught in a loop that costs money each time round.
MAX_GENERATIONS = 99

_DIGEST_LENGTH = 16
_SLUG_LENGTH = LONGEST_JOB_ID - _DIGEST_LENGTH - len("--") - len(str(MAX_GENERATIONS))


def job_ids(ti: Any, request: Mapping[str, Any], *, new_in_each_try: bool = False) -> list[str]:
    """
    Return the ids that a task's job may have, in the order in which they are used.

    The next one is for when the job of the one before has ended without a model. They contain no clock and no
    random part, and nothing is stored: any worker, on any Airflow version, computes the same ids.

    :param ti: the task instance.
    :param request: the body of the create call without an id. Changed data or another model is other work.
    :param new_in_each_try: whether each try of the task wants a job of its own.
    """
    map_index = -1 if ti.map_index is None else ti.map_index
    parts: list[Any] = [ti.dag_id, ti.run_id, ti.task_id, map_index, request]
    if new_in_each_try:
        parts.append(ti.try_number)
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(canonical.encode("ascii")).hexdigest()[:_DIGEST_LENGTH]
    stem = f"{_slug(str(request['name']))}-{digest}"
    return [f"{stem}-{generation}" for generation in range(1, MAX_GENERATIONS + 1)]


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return slug[:_SLUG_LENGTH].rstrip("-") or "job"
