"""Checks a job's arguments when the DAG is parsed, as far as they are known by then. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_atai.api.job_request import check_request
from airflow_provider_atai.compat.rendering import is_dynamic

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
    known = {"name": _known(name), "model": _known(model), "job_id": _known(job_id)}
    check_request(**known, datasets=_known_datasets(datasets))


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


def _known_datasets(datasets: Any) -> Any:
    if is_dynamic(datasets):
        return [_STAND_IN_DATASET]
    if not isinstance(datasets, (list, tuple)):
        return datasets
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
    return {key: _known(value, _STAND_IN_DATASET.get(key)) for key, value in entry.items()}
