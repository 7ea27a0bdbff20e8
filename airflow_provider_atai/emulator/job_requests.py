"""The body of a create-job request, and what is refused about it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_atai.emulator.errors import RefusedError, invalid, missing
from airflow_provider_atai.emulator.ids import MAX_JOB_ID_LENGTH
from airflow_provider_atai.emulator.settings import KNOWN_MODELS, Switches

_REQUIRED = {"none": (), "train": ("train",), "train_and_eval": ("train", "eval")}
_Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class Dataset(_Strict):
    """One entry of a job's datasets."""

    name: _Text
    split: Literal["train", "eval"]
    file_ids: list[_Text] = Field(min_length=1)


class JobConfig(_Strict):
    """What a job trains, and on what."""

    model: _Text | None = None
    datasets: list[Dataset] = Field(min_length=1)


class CreateJob(_Strict):
    """The whole body."""

    name: _Text
    id: Annotated[str, Field(min_length=1, max_length=MAX_JOB_ID_LENGTH)] | None = None
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
    if switches.extra_fields == "refused":
        parts: list[_Strict] = [request, request.config, *request.config.datasets]
        extra = sorted({name for part in parts for name in part.model_extra or ()})
        if extra:
            raise invalid(f"Unknown fields: {', '.join(extra)}")
    model = request.config.model
    if switches.unknown_model == "refused" and model is not None and model not in KNOWN_MODELS:
        raise RefusedError(
            400,
            "invalid_model_version",
            f"Unknown model: {model}",
            suggestion=f"Known models: {', '.join(KNOWN_MODELS)}",
        )
