"""Checks and builds the request body of a fine-tune job. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_JOB_ID = 64
SPLITS = ("train", "eval")
_DATASET_KEYS = frozenset({"name", "split", "file_ids"})
_EXAMPLE = '{"name": "training-set", "split": "train", "file_ids": ["train.jsonl"]}'


def build_request(
    *, name: str, datasets: Sequence[Mapping[str, Any]], model: str | None = None, job_id: str | None = None
) -> dict[str, Any]:
    """
    Return the JSON body of ``POST /fine-tune/jobs``.

    ``model`` and ``id`` are left out if None: the service then uses its default model and makes an id.
    """
    listed = [
        {"name": entry["name"], "split": entry["split"], "file_ids": list(entry["file_ids"])}
        for entry in datasets
    ]
    chosen_model = {} if model is None else {"model": model}
    chosen_id = {} if job_id is None else {"id": job_id}
    return {"name": name, **chosen_id, "config": {**chosen_model, "datasets": listed}}


def check_request(*, name: object, datasets: object, model: object = None, job_id: object = None) -> None:
    """
    Check the arguments of a job against what the API documents.

    :param name: a non-empty string.
    :param datasets: a non-empty list of mappings with exactly ``name``, ``split`` (``"train"`` or ``"eval"``)
        and ``file_ids`` (a non-empty list of strings); at least one of them is a train split.
    :param model: a non-empty string, or None for the service's default.
    :param job_id: 1 to 64 characters that are valid in a URL path, or None.
    :raises ValueError: an argument is wrong; the message says what to write instead.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name must be a non-empty string, not {name!r}.")
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise ValueError(
            f"model must be a non-empty string, or None for the service's default, not {model!r}."
        )
    if job_id is not None:
        check_job_id(job_id)
    if isinstance(datasets, str):
        raise ValueError(
            f"datasets must be a list, not the string {_shown(datasets)}. Write datasets=[{_EXAMPLE}], or "
            "datasets=[upload.output]; a Jinja string needs render_template_as_native_obj=True on the DAG."
        )
    if isinstance(datasets, Mapping):
        raise ValueError(
            f"datasets must be a list of mappings, not one mapping. Write datasets=[{_EXAMPLE}]."
        )
    if not isinstance(datasets, Sequence) or not datasets:
        raise ValueError(
            f"datasets must be a non-empty list, not {_shown(datasets)}. Write datasets=[{_EXAMPLE}]."
        )
    for position, entry in enumerate(datasets):
        _check_dataset(entry, f"datasets[{position}]")
    if not any(entry["split"] == "train" for entry in datasets):
        raise ValueError('datasets has no entry with "split": "train"; a job needs something to train on.')


def check_job_id(job_id: object) -> None:
    """
    Check the id of a job, new or existing.

    :raises ValueError: it is not a string of 1 to 64 characters, or contains what a URL path would misread.
    """
    if not isinstance(job_id, str) or not job_id:
        raise ValueError(f"job_id must be a string of 1 to {LONGEST_JOB_ID} characters, not {job_id!r}.")
    if len(job_id) > LONGEST_JOB_ID:
        raise ValueError(f"job_id has {len(job_id)} characters; the service takes 1 to {LONGEST_JOB_ID}.")
    if job_id in (".", "..") or any(c in "/\\?#%" or c.isspace() or not c.isprintable() for c in job_id):
        raise ValueError(
            f"job_id {job_id!r} is not valid in a URL path. "
            "Use letters, digits, '-', '_' and '.', without spaces and slashes."
        )


def _check_dataset(entry: object, where: str) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} must be a mapping such as {_EXAMPLE}, not {_shown(entry)}.")
    missing = sorted(_DATASET_KEYS - set(entry))
    unknown = sorted(str(key) for key in set(entry) - _DATASET_KEYS)
    if missing or unknown:
        found = (("lacks", missing), ("has unknown", unknown))
        faults = [f"{fault} {', '.join(keys)}" for fault, keys in found if keys]
        raise ValueError(f"{where} {' and '.join(faults)}. Write exactly {_EXAMPLE}.")
    if not isinstance(entry["name"], str) or not entry["name"].strip():
        raise ValueError(f"{where}: name must be a non-empty string, not {entry['name']!r}.")
    if entry["split"] not in SPLITS:
        raise ValueError(f'{where}: split must be "train" or "eval", not {_shown(entry["split"])}.')
    check_file_ids(entry["file_ids"], f"{where}: file_ids")


def check_file_ids(file_ids: object, where: str) -> None:
    """
    Check a list of file ids.

    :param where: names the list in the message.
    :raises ValueError: it is not a non-empty list of non-empty strings.
    """
    if isinstance(file_ids, str):
        raise ValueError(
            f"{where} must be a list, not the string {_shown(file_ids)}. Write [{_shown(file_ids)}]."
        )
    if not isinstance(file_ids, list | tuple) or not file_ids:
        raise ValueError(f"{where} must be a non-empty list of file ids, not {_shown(file_ids)}.")
    for file_id in file_ids:
        if not isinstance(file_id, str) or file_id.strip() in ("", ".", ".."):
            raise ValueError(f"{where} contains {_shown(file_id)}, which is not a file id.")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:99] + "…"
