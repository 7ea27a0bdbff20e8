"""What the triggerer can render of a job id, where the scheduler hands a sensor straight to it. Pure."""

from __future__ import annotations

from typing import Any


def triggerer_template(job_id: Any) -> str | None:
    """
    Return a job id as text that the triggerer of Airflow 3.3 can render, None when it cannot.

    It can look up an XCom only by its map index, which neither the Jinja form of another task's output nor
    ``ti.xcom_pull(task_ids=...)`` names: they make a request that the triggerer does not answer.

    :param job_id: an id, a Jinja template or another task's output.
    """
    if isinstance(job_id, str):
        return None if "xcom" in job_id else job_id
    task, key = getattr(job_id, "operator", None), getattr(job_id, "key", None)
    if task is None or key is None or _is_mapped(task):
        return None
    return f"{{{{ ti.xcom_pull(task_ids={task.task_id!r}, key={key!r}, map_indexes=-1) }}}}"


def _is_mapped(task: Any) -> bool:
    return bool(getattr(task, "is_mapped", False)) or task.get_closest_mapped_task_group() is not None
