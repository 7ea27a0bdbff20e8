"""The body of a create-job request, and what is refused about it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from airflow_provider_atai.emulator.errors import RefusedError, missing
from airflow_provider_atai.emulator.ids import MAX_JOB_ID_LENGTH
from airflow_provider_atai.emulator.request_bodies import RequestBody, refuse_unknown_fields
from airflow_provider_atai.emulator.settings import KNOWN_MODELS, Switches

_REQUIRED = {"none": (), "train": ("train",), "train_and_eval": ("train", "eval")}
_Text = Annotated[str, Field(min_length=1)]


def _reachable(job_id: str) -> str:
    if "/" in job_id or job_id in (".", ".."):
        raise ValueError("no path could name such a job")
    return job_id


_JobId = Annotated[str, Field(min_length=1, max_length=MAX_JOB_ID_LENGTH), AfterValidator(_reachable)]


class Dataset(RequestBody):
    """One entry of a job's datasets."""

    name: _Text
    split: Literal["train", "eval"]
    file_ids: list[_Text] = Field(min_length=1)


class JobConfig(RequestBody):
    """What a job trains, and on what."""

    model: _Text | None = None
    datasets: list[Dataset] = Field(min_length=1)


class CreateJob(RequestBody):
    """The whole body."""

    name: _Text
    id: _JobId | None = None
    config: JobConfig


def check(request: CreateJob, switches: Switches) -> None:
    """
    Refuse what the form of the request allows and the switches do not.

    :raises RefusedError: 400.
    """
    present = {dataset.split for dataset in request.config.datasets}
    for split in _REQUIRED[switches.required_splits]:
        if split not in present:
            raise missing(f"config.datasets has no dataset whose split is {split!r}")
    refuse_unknown_fields(switches, request, request.config, *request.config.datasets)
    model = request.config.model
    if switches.unknown_model == "refused" and model is not None and model not in KNOWN_MODELS:
        raise RefusedError(
            400,
            "invalid_model_version",
            f"Unknown model: {model}",
            suggestion=f"Known models: {', '.join(KNOWN_MODELS)}",
        )
