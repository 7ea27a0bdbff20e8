"""Templates and outputs of other tasks: what is known when, and what a triggerer can render. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def is_dynamic(value: Any) -> bool:
    """Tell whether a value is known only when the task runs: a template or another task's output."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    # XComArg and everything like it, without importing it: DAG files are parsed often. A path has a resolve()
    # as well, so that does not tell.
    return hasattr(value, "iter_references")


def is_task(value: Any) -> bool:
    """Tell whether a value is a task itself, given by mistake for its output."""
    return hasattr(value, "task_id") and hasattr(value, "output")


def task_of_output(value: Any) -> Any:
    """Return the task whose whole return value this is, None if it is something else, or many tasks'."""
    task = getattr(value, "operator", None)
    if task is None or getattr(value, "key", None) != "return_value" or _is_mapped(task):
        return None
    return task


def normalise_rendered(value: Any) -> Any:
    """
    Return a rendered argument as plain lists and None.

    The output of a mapped task arrives as a lazy sequence, at any depth. A null ``Param`` that went through
    Jinja arrives as ``"None"``.
    """
    return None if value in ("", "None") else _plain(value)


def triggerer_template(job_id: Any) -> str | None:
    """
    Return a job id as text that the triggerer of Airflow 3.3 can render, None if it cannot.

    The triggerer can look up an XCom only by its map index. The Jinja form of another task's output and
    ``ti.xcom_pull(task_ids=...)`` do not name one: they make a request that the triggerer does not answer.
    """
    if isinstance(job_id, str):
        return None if "xcom" in job_id else job_id
    task, key = getattr(job_id, "operator", None), getattr(job_id, "key", None)
    if task is None or key is None or _is_mapped(task):
        return None
    return f"{{{{ ti.xcom_pull(task_ids={task.task_id!r}, key={key!r}, map_indexes=-1) }}}}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value


def _is_mapped(task: Any) -> bool:
    return bool(getattr(task, "is_mapped", False)) or task.get_closest_mapped_task_group() is not None
