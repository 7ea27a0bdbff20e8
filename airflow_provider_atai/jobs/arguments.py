"""Checks a job's arguments when the DAG is parsed, as far as they are known then. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_atai.api.job_request import check_request

_STAND_IN_DATASET = {"name": "templated", "split": "train", "file_ids": ["templated"]}


def check_at_parse_time(*, name: Any, datasets: Any, model: Any, job_id: Any) -> None:
    """
    Check what is written out in the DAG file; what a template or another task will fill in passes.

    :raises ValueError: saying what to write instead.
    """
    check_request(
        name=_known(name),
        datasets=_known_datasets(datasets),
        model=_known(model),
        job_id=_known(job_id),
    )


def normalise_rendered(value: Any) -> Any:
    """
    Return a rendered argument as plain lists and None.

    A mapped task's output arrives as a lazy sequence, at any depth, and a null ``Param`` that went through
    Jinja as ``"None"``.
    """
    return None if value in ("", "None") else _plain(value)


def is_dynamic(value: Any) -> bool:
    """
    Tell whether a value is filled in only when the task runs: a Jinja template or another task's
    output.
    """
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    # XComArg and everything like it, without importing it: DAG files are parsed often.
    return hasattr(value, "resolve")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value


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
