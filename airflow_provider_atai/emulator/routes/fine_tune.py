"""The fine-tune API of v0.5."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, Field

from airflow_provider_atai.emulator.access import Org
from airflow_provider_atai.emulator.errors import RefusedError, invalid, missing
from airflow_provider_atai.emulator.ids import MAX_JOB_ID_LENGTH
from airflow_provider_atai.emulator.jobs.life_cycle import TERMINAL, JobStatus
from airflow_provider_atai.emulator.jobs.rows import record_of
from airflow_provider_atai.emulator.settings import DEFAULT_MODEL, KNOWN_MODELS, LARGEST_INTEGER, Switches
from airflow_provider_atai.emulator.state import Emulator
from airflow_provider_atai.emulator.strict_input import (
    RequestBody,
    StrictJsonRoute,
    WholeNumber,
    refuse_unknown_fields,
)

_REQUIRED_SPLITS = {"none": (), "train": ("train",), "train_and_eval": ("train", "eval")}


def _reachable(job_id: str) -> str:
    if "/" in job_id or job_id in (".", ".."):
        raise ValueError("no path could name such a job")
    return job_id


_Text = Annotated[str, Field(min_length=1)]
_NewJobId = Annotated[str, Field(min_length=1, max_length=MAX_JOB_ID_LENGTH), AfterValidator(_reachable)]
_JobId = Annotated[str, Path(min_length=1, max_length=MAX_JOB_ID_LENGTH)]
_Limit = Annotated[WholeNumber, Query(ge=-1, le=LARGEST_INTEGER)]
_Offset = Annotated[WholeNumber, Query(ge=0, le=LARGEST_INTEGER)]


class _Dataset(RequestBody):
    name: _Text
    split: Literal["train", "eval"]
    file_ids: list[_Text] = Field(min_length=1)


class _JobConfig(RequestBody):
    model: _Text | None = None
    datasets: list[_Dataset] = Field(min_length=1)


class _CreateJob(RequestBody):
    name: _Text
    id: _NewJobId | None = None
    config: _JobConfig


def fine_tune_router(emulator: Emulator) -> APIRouter:
    """Return the routes under ``/fine-tune``."""
    router = APIRouter(prefix="/fine-tune", route_class=StrictJsonRoute)
    jobs = emulator.jobs

    @router.post("/jobs")
    async def create(org: Org, body: _CreateJob) -> JSONResponse:
        _check(body, emulator.switches)
        datasets, file_uids = [], []
        for dataset in body.config.datasets:
            files = [_resolved(emulator, org, file_id) for file_id in dataset.file_ids]
            file_uids += [uid for _, uid in files]
            names = [name for name, _ in files]
            datasets.append({"name": dataset.name, "split": dataset.split, "file_ids": names})
        config = {"model": body.config.model or DEFAULT_MODEL, "datasets": datasets}
        row = jobs.create(org, name=body.name, config=config, file_uids=file_uids, job_id=body.id)
        return JSONResponse(record_of(row), emulator.switches.create_status)

    @router.get("/jobs")
    async def list_jobs(
        org: Org,
        limit: _Limit = -1,
        offset: _Offset = 0,
        statuses: Annotated[list[JobStatus] | None, Query()] = None,
    ) -> JSONResponse:
        wanted = [status.value for status in statuses or ()]
        rows = jobs.list(org, limit=limit, offset=offset, statuses=wanted)
        return JSONResponse([record_of(row) for row in rows])

    @router.get("/jobs/{job_id}")
    async def get(org: Org, job_id: _JobId) -> JSONResponse:
        return JSONResponse(record_of(jobs.get(org, job_id)))

    @router.put("/jobs/{job_id}/stop")
    async def stop(org: Org, job_id: _JobId) -> JSONResponse:
        return JSONResponse(record_of(jobs.stop(org, job_id)))

    @router.put("/jobs/{job_id}/cancel")
    async def cancel(org: Org, job_id: _JobId) -> JSONResponse:
        return JSONResponse(record_of(jobs.cancel(org, job_id)))

    @router.get("/jobs/{job_id}/metrics")
    async def metrics(org: Org, job_id: _JobId, limit: _Limit = -1, offset: _Offset = 0) -> JSONResponse:
        return JSONResponse(jobs.metrics(org, job_id, limit=limit, offset=offset))

    # Only a third party's client knows the next two; the switch third_party_endpoints hides them.
    @router.delete("/jobs/{job_id}")
    async def delete(org: Org, job_id: _JobId) -> Response:
        jobs.delete(org, job_id)
        return Response(status_code=200)

    @router.get("/status")
    async def runner_status(org: Org) -> JSONResponse:
        counts = jobs.counts(org)
        is_busy = any(status not in TERMINAL for status in counts)
        return JSONResponse({"status": "BUSY" if is_busy else "READY"})

    return router


def _check(body: _CreateJob, switches: Switches) -> None:
    present = {dataset.split for dataset in body.config.datasets}
    for split in _REQUIRED_SPLITS[switches.required_splits]:
        if split not in present:
            raise missing(f"config.datasets has no dataset whose split is {split!r}")
    refuse_unknown_fields(switches, body, body.config, *body.config.datasets)
    model = body.config.model
    if switches.unknown_model == "refused" and model is not None and model not in KNOWN_MODELS:
        known = f"Known models: {', '.join(KNOWN_MODELS)}"
        raise RefusedError(400, "invalid_model_version", f"Unknown model: {model}", suggestion=known)


def _resolved(emulator: Emulator, org: str, file_id: str) -> tuple[str, str]:
    file = emulator.files.find(org, file_id)
    if file is None and emulator.switches.file_ids == "resolved":
        file = emulator.files.find(org, file_id, column="file_uid")
    if file is None:
        raise invalid(
            f"Failed to resolve file inputs: {file_id}", suggestion="Upload the file and use its file_id"
        )
    return file["file_id"], file["file_uid"]
