"""Direct-to-cloud uploads: the half of the Files API that hands out part URLs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from airflow_provider_atai.emulator.access import Org
from airflow_provider_atai.emulator.errors import RefusedError, invalid
from airflow_provider_atai.emulator.files.files import DIRECT_TYPES, base_name, unsupported_type
from airflow_provider_atai.emulator.files.parts import unquoted
from airflow_provider_atai.emulator.state import Emulator
from airflow_provider_atai.emulator.strict_input import RequestBody, StrictJsonRoute, refuse_unknown_fields


class _InitiateUpload(RequestBody):
    filename: Annotated[str, Field(min_length=1)]
    file_type: str
    num_bytes: int = Field(ge=1)
    resume_if_started: bool = False


class _PartNumbers(RequestBody):
    part_numbers: list[int] = Field(min_length=1)


class _PartToken(RequestBody):
    part_number: int
    # The ETag that storage answered for the part, with or without its quotes.
    part_token: Annotated[str, Field(min_length=1)]


class _PartTokens(RequestBody):
    parts: list[_PartToken]


def direct_upload_router(emulator: Emulator) -> APIRouter:
    """Return the routes under ``/files/uploads``."""
    router = APIRouter(prefix="/files/uploads", route_class=StrictJsonRoute)
    uploads = emulator.uploads

    @router.post("/initiate")
    async def initiate(request: Request, org: Org, body: _InitiateUpload) -> JSONResponse:
        refuse_unknown_fields(emulator.switches, body)
        if body.file_type not in DIRECT_TYPES:
            raise unsupported_type(body.file_type)
        largest = emulator.switches.direct_max_bytes
        if body.num_bytes > largest:
            raise RefusedError(413, "invalid_file_size", f"The file is larger than {largest} bytes")
        row, found = uploads.initiate(
            org,
            filename=base_name(body.filename),
            file_type=body.file_type,
            num_bytes=body.num_bytes,
            resume=body.resume_if_started,
        )
        return JSONResponse(uploads.initiated(row, _root_url(request), is_resume=found))

    @router.post("/{upload_id}/parts/urls")
    async def part_urls(request: Request, org: Org, upload_id: str, body: _PartNumbers) -> JSONResponse:
        refuse_unknown_fields(emulator.switches, body)
        async with uploads.exclusive(upload_id):
            row = uploads.open(org, upload_id)
            return JSONResponse({"parts": uploads.part_urls(row, _root_url(request), body.part_numbers)})

    @router.post("/{upload_id}/parts/checkpoint")
    async def checkpoint(org: Org, upload_id: str, body: _PartTokens) -> JSONResponse:
        tokens = _tokens(emulator, body)
        async with uploads.exclusive(upload_id):
            uploads.checkpoint(uploads.open(org, upload_id), tokens)
        return JSONResponse({"num_checkpointed": len(body.parts)})

    @router.post("/{upload_id}/complete")
    async def complete(org: Org, upload_id: str, body: _PartTokens) -> JSONResponse:
        tokens = _tokens(emulator, body)
        async with uploads.exclusive(upload_id):
            file = await uploads.complete(uploads.open(org, upload_id), tokens)
        return JSONResponse(
            {
                "file_uid": file["file_uid"],
                "file_name": file["file_id"],
                "num_bytes": file["num_bytes"],
                "file_status": "Registered",
                "file_attributes": {"metadata_status": "not_extracted"},
            }
        )

    @router.post("/{upload_id}/abort")
    async def abort(org: Org, upload_id: str) -> Response:
        async with uploads.exclusive(upload_id):
            uploads.abort(org, upload_id)
        return Response(status_code=200)

    return router


def _tokens(emulator: Emulator, body: _PartTokens) -> dict[int, str]:
    refuse_unknown_fields(emulator.switches, body, *body.parts)
    tokens: dict[int, str] = {}
    for part in body.parts:
        first = tokens.setdefault(part.part_number, part.part_token)
        if unquoted(first) != unquoted(part.part_token):
            raise invalid(f"The request lists part {part.part_number} twice, with different tokens")
    return tokens


def _root_url(request: Request) -> str:
    # A client reaches this server under the address that it used for this request.
    return str(request.base_url).rstrip("/")
