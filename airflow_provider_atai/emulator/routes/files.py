"""The Files API without its uploads: list, describe, download, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse

from airflow_provider_atai.emulator.access import Org
from airflow_provider_atai.emulator.files.listing import FileFilter, PageQuery, ShardQuery, page, sharded
from airflow_provider_atai.emulator.settings import CLIENT_PREFIX
from airflow_provider_atai.emulator.state import Emulator


def files_router(emulator: Emulator) -> APIRouter:
    """Return the routes under ``/files`` for files that the service already has."""
    router = APIRouter(prefix="/files")
    store, files = emulator.store, emulator.files

    @router.get("/info")
    async def info() -> JSONResponse:
        # The documents name this route and do not say what it answers.
        return JSONResponse({})

    @router.get("/metadata")
    async def list_metadata(
        request: Request,
        org: Org,
        filters: Annotated[FileFilter, Depends()],
        shards: Annotated[ShardQuery, Depends()],
        pages: Annotated[PageQuery, Depends()],
    ) -> JSONResponse:
        if pages.is_asked_for or request.url.path.startswith(f"{CLIENT_PREFIX}/"):
            return JSONResponse(page(store, files, org, filters, pages))
        return JSONResponse(sharded(store, files, org, filters, shards))

    @router.get("/metadata/{file_id}")
    async def metadata(org: Org, file_id: str) -> JSONResponse:
        return JSONResponse(files.metadata(files.required(org, file_id)))

    @router.get("/download/{file_id}")
    async def download(org: Org, file_id: str) -> FileResponse:
        content = files.content(org, file_id)
        return FileResponse(content, media_type="application/octet-stream")

    @router.delete("/delete/{file_id}")
    async def delete(org: Org, file_id: str) -> JSONResponse:
        row = files.delete(org, file_id)
        return JSONResponse({"is_valid": True, "file_id": row["file_id"], "file_uid": row["file_uid"]})

    return router
