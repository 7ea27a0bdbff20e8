"""The fine-tune API of v0.5."""

from __future__ import annotations

import sqlite3
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from airflow_provider_atai.api.fine_tune import JobStatus
from airflow_provider_atai.emulator.access import organisation_of
from airflow_provider_atai.emulator.errors import invalid
from airflow_provider_atai.emulator.ids import MAX_JOB_ID_LENGTH
from airflow_provider_atai.emulator.job_requests import CreateJob, check
from airflow_provider_atai.emulator.jobs.life_cycle import TERMINAL
from airflow_provider_atai.emulator.jobs.rows import record_of
from airflow_provider_atai.emulator.settings import DEFAULT_MODEL, LARGEST_INTEGER
from airflow_provider_atai.emulator.state import Emulator
from airflow_provider_atai.emulator.strict_input import StrictJsonRoute
from airflow_provider_atai.emulator.whole_numbers import WholeNumber

_JobId = Annotated[str, Path(min_length=1, max_length=MAX_JOB_ID_LENGTH)]
_Limit = Annotated[WholeNumber, Query(ge=-1, le=LARGEST_INTEGER)]
_Offset = Annotated[WholeNumber, Query(ge=0, le=LARGEST_INTEGER)]


def fine_tune_router(emulator: Emulator) -> APIRouter:
    """Return the routes under ``/fine-tune``."""
    router = APIRouter(prefix="/fine-tune", route_class=StrictJsonRoute)
    _add_third_party_routes(router, emulator)

    @router.post("/jobs")
    async def create(request: Request, body: CreateJob) -> JSONResponse:
        org = organisation_of(request)
        check(body, emulator.switches)
        datasets, file_uids = [], []
        for dataset in body.config.datasets:
            files = [_resolved(emulator, org, file_id) for file_id in dataset.file_ids]
            file_uids += [file["file_uid"] for file in files]
            names = [file["file_id"] for file in files]
            datasets.append({"name": dataset.name, "split": dataset.split, "file_ids": names})
        config = {"model": body.config.model or DEFAULT_MODEL, "datasets": datasets}
        row = emulator.jobs.create(org, name=body.name, config=config, file_uids=file_uids, job_id=body.id)
        return JSONResponse(record_of(row), emulator.switches.create_status)

    @router.get("/jobs")
    async def list_jobs(
        request: Request,
        limit: _Limit = -1,
        offset: _Offset = 0,
        statuses: Annotated[list[JobStatus] | None, Query()] = None,
    ) -> JSONResponse:
        rows = emulator.jobs.list(
            organisation_of(request),
            limit=limit,
            offset=offset,
            statuses=[status.value for status in statuses or ()],
        )
        return JSONResponse([record_of(row) for row in rows])

    @router.get("/jobs/{job_id}")
    async def get(request: Request, job_id: _JobId) -> JSONResponse:
        return JSONResponse(record_of(emulator.jobs.get(organisation_of(request), job_id)))

    @router.put("/jobs/{job_id}/stop")
    async def stop(request: Request, job_id: _JobId) -> JSONResponse:
        return JSONResponse(record_of(emulator.jobs.stop(organisation_of(request), job_id)))

    @router.put("/jobs/{job_id}/cancel")
    async def cancel(request: Request, job_id: _JobId) -> JSONResponse:
        return JSONResponse(record_of(emulator.jobs.cancel(organisation_of(request), job_id)))

    @router.get("/jobs/{job_id}/metrics")
    async def metrics(
        request: Request, job_id: _JobId, limit: _Limit = -1, offset: _Offset = 0
    ) -> JSONResponse:
        return JSONResponse(
            emulator.jobs.metrics(organisation_of(request), job_id, limit=limit, offset=offset)
        )

    return router


def _resolved(emulator: Emulator, org: str, file_id: str) -> sqlite3.Row:
    file = emulator.files.find(org, file_id)
    if file is None and emulator.switches.file_ids == "resolved":
        file = emulator.files.find_uid(org, file_id)
    if file is None:
        raise invalid(
            f"Failed to resolve file inputs: {file_id}", suggestion="Upload the file and use its file_id"
        )
    return file


def _add_third_party_routes(router: APIRouter, emulator: Emulator) -> None:
    @router.delete("/jobs/{job_id}")
    async def delete(request: Request, job_id: _JobId) -> Response:
        emulator.jobs.delete(organisation_of(request), job_id)
        return Response(status_code=200)

    @router.get("/status")
    async def runner_status(request: Request) -> JSONResponse:
        counts = emulator.jobs.counts(organisation_of(request))
        busy = any(status not in TERMINAL for status in counts)
        return JSONResponse({"status": "BUSY" if busy else "READY"})
