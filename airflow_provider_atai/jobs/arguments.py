"""Checks a job's arguments when the DAG is parsed, as far as they are known by then. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_atai.api.job_request import check_job_id, check_request
from airflow_provider_atai.compat.rendering import is_dynamic, is_task, task_of_output

_STAND_IN_DATASET = {"name": "templated", "split": "train", "file_ids": ["templated"]}


def check_at_parse_time(*, name: Any, datasets: Any, model: Any, job_id: Any, reattach: bool = True) -> None:
    """
    Check what the DAG file spells out; what a template or another task will fill in passes.

    :raises ValueError: saying what to write instead.
    """
    if job_id is not None and not reattach:
        raise ValueError(
            "reattach=False makes a new job in each try, which a job_id of your own cannot name. Leave one "
            "of them out."
        )
    for argument, value in (("name", name), ("model", model), ("job_id", job_id), ("datasets", datasets)):
        _refuse_task(value, argument)
    known = {"name": _known(name), "model": _known(model), "job_id": _known(job_id)}
    check_request(**known, datasets=_known_datasets(datasets))


def check_job_argument(job_id: Any) -> None:
    """
    Check the id of an existing job, as far as the DAG file spells it out.

    :raises ValueError: saying what to write instead.
    """
    _refuse_task(job_id, "job_id")
    if not is_dynamic(job_id):
        check_job_id(job_id)


def check_deferrable(deferrable: bool, *, waits: bool, default: bool) -> None:
    """
    Check that a task which is told to wait in the triggerer waits at all.

    :param default: what Airflow's own setting says of every task, which is fine for one that does not wait.
    :raises ValueError: it does not wait.
    """
    if deferrable and not waits and not default:
        raise ValueError(
            "deferrable=True has no effect on a task that does not wait. Add wait_for_completion=True, "
            "or wait with FineTuneJobSensor(job_id=..., deferrable=True)."
        )


def _known(value: Any, stand_in: Any = "templated") -> Any:
    return stand_in if is_dynamic(value) else value


def _refuse_task(value: Any, argument: str, written: str = "{argument}={task}.output") -> None:
    if is_task(value):
        raise ValueError(
            f"{argument} is the task {value.task_id!r} itself, not what it returns. Write "
            f"{written.format(argument=argument, task=value.task_id)}."
        )


def _known_datasets(datasets: Any) -> Any:
    upload = task_of_output(datasets)
    if getattr(upload, "returns_one_dataset", False):
        raise ValueError(
            f"datasets must be a list, and task {upload.task_id!r} returns one dataset. Write "
            f"datasets=[{upload.task_id}.output]."
        )
    if is_dynamic(datasets):
        return [_STAND_IN_DATASET]
    if not isinstance(datasets, (list, tuple)):
        return datasets
    for position, entry in enumerate(datasets):
        _refuse_task(entry, f"datasets[{position}]", "datasets=[{task}.output]")
    known = [_known_dataset(entry) for entry in datasets]
    if any(is_dynamic(entry) for entry in datasets):
        # The entry that comes from elsewhere may well be the train split.
        known.append(_STAND_IN_DATASET)
    return known


def _known_dataset(entry: Any) -> Any:
    if is_dynamic(entry):
        return _STAND_IN_DATASET
    if not isinstance(entry, Mapping):
        return entry
    for key, value in entry.items():
        _refuse_task(value, str(key), "{argument!r}: {task}.output")
    return {key: _known(value, _STAND_IN_DATASET.get(key)) for key, value in entry.items()}
