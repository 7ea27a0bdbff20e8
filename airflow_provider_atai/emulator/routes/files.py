"""The Files API, but for direct uploads."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse

from airflow_provider_atai.emulator.access import organisation_of
from airflow_provider_atai.emulator.files.listing import FileFilter, PageQuery, ShardQuery, page, sharded
from airflow_provider_atai.emulator.routes.proxy_uploads import take_upload
from airflow_provider_atai.emulator.settings import CLIENT_PREFIX
from airflow_provider_atai.emulator.state import Emulator


def files_router(emulator: Emulator) -> APIRouter:
    """Return the routes under ``/files``."""
    router = APIRouter(prefix="/files")

    @router.post("")
    async def upload(request: Request) -> JSONResponse:
        return JSONResponse(await take_upload(emulator, organisation_of(request), request, encoded=False))

    @router.post("/base64")
    async def upload_base64(request: Request) -> JSONResponse:
        return JSONResponse(await take_upload(emulator, organisation_of(request), request, encoded=True))

    @router.get("/info")
    async def info(request: Request) -> JSONResponse:
        # That it exists is documented, not what it says.
        organisation_of(request)
        return JSONResponse({})

    @router.get("/metadata")
    async def list_metadata(
        request: Request,
        filters: Annotated[FileFilter, Depends()],
        shards: Annotated[ShardQuery, Depends()],
        pages: Annotated[PageQuery, Depends()],
    ) -> JSONResponse:
        org = organisation_of(request)
        if pages.is_asked_for or request.url.path.startswith(f"{CLIENT_PREFIX}/"):
            return JSONResponse(page(emulator.store, emulator.files, org, filters, pages))
        return JSONResponse(sharded(emulator.store, emulator.files, org, filters, shards))

    @router.get("/metadata/{file_id}")
    async def metadata(request: Request, file_id: str) -> JSONResponse:
        row = emulator.files.required(organisation_of(request), file_id)
        return JSONResponse(emulator.files.metadata(row))

    @router.get("/download/{file_id}")
    async def download(request: Request, file_id: str) -> FileResponse:
        content = emulator.files.content(organisation_of(request), file_id)
        return FileResponse(content, media_type="application/octet-stream")

    @router.delete("/delete/{file_id}")
    async def delete(request: Request, file_id: str) -> JSONResponse:
        row = emulator.files.delete(organisation_of(request), file_id)
        return JSONResponse({"is_valid": True, "file_id": row["file_id"], "file_uid": row["file_uid"]})

    return router
