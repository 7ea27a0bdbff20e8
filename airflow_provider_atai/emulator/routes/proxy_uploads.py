"""Uploads through the service itself: one multipart part, raw or in base64, streamed to disk."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import shutil
import uuid
from pathlib import Path
from typing import Any, BinaryIO

# Starlette parses forms with it, and reports its absence only when the first form comes.
import python_multipart  # noqa: F401
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from airflow_provider_atai.emulator.access import Org
from airflow_provider_atai.emulator.errors import RefusedError, invalid, missing
from airflow_provider_atai.emulator.files.files import (
    PROXY_TYPES,
    base_name,
    read_attributes,
    unsupported_type,
)
from airflow_provider_atai.emulator.settings import Switches
from airflow_provider_atai.emulator.state import Emulator

# Room for the boundaries and headers around the one part of a body.
_MULTIPART_OVERHEAD = 65_536
_BASE64_CHUNK = 4 * 262_144


def proxy_upload_router(emulator: Emulator) -> APIRouter:
    """Return the routes that take a file's bytes themselves. A file of the same name is overwritten."""
    router = APIRouter(prefix="/files")

    @router.post("")
    async def upload(request: Request, org: Org) -> JSONResponse:
        return JSONResponse(await _take(emulator, request, org, encoded=False))

    @router.post("/base64")
    async def upload_base64(request: Request, org: Org) -> JSONResponse:
        return JSONResponse(await _take(emulator, request, org, encoded=True))

    return router


async def _take(emulator: Emulator, request: Request, org: str, *, encoded: bool) -> dict[str, Any]:
    largest = emulator.switches.proxy_max_bytes
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > largest + _MULTIPART_OVERHEAD:
        raise _too_large(largest)
    try:
        form = await request.form()
    except HTTPException as error:
        problem = {"type": "multipart_invalid", "loc": ("body",), "msg": error.detail}
        raise RequestValidationError([problem]) from error
    try:
        part = _file_part(form)
        file_type = _declared_type(part, emulator.switches)
        if (part.size or 0) > largest:
            raise _too_large(largest)
        file_id = base_name(part.filename or "")
        content = emulator.store.data_dir / "uploads" / f"incoming-{uuid.uuid4().hex}"
        try:
            await asyncio.to_thread(_write, part.file, content, encoded)
            attributes = await asyncio.to_thread(read_attributes, content, file_type)
            row = emulator.files.add(
                org,
                file_id=file_id,
                file_type=file_type,
                content=content,
                attributes=attributes,
            )
        finally:
            content.unlink(missing_ok=True)
    finally:
        await form.close()
    return {"is_valid": True, "file_id": row["file_id"], "file_uid": row["file_uid"]}


def _file_part(form: FormData) -> UploadFile:
    parts = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not parts:
        raise missing("The request has no file part with a filename")
    if len(parts) > 1:
        raise invalid("The request has more than one file part")
    return parts[0]


def _declared_type(part: UploadFile, switches: Switches) -> str:
    # Nobody looks at the bytes: a file whose type is declared wrongly is stored with the wrong type.
    file_type = (part.content_type or "application/octet-stream").partition(";")[0].strip().lower()
    refused = file_type == "application/json" and switches.proxy_application_json == "refused"
    if refused or file_type not in PROXY_TYPES:
        raise unsupported_type(file_type)
    return file_type


def _too_large(largest: int) -> RefusedError:
    return RefusedError(
        413, "invalid_file_size", f"The file is larger than {largest} bytes", suggestion="Upload it directly"
    )


def _write(source: BinaryIO, target: Path, encoded: bool) -> None:
    with target.open("wb") as file:
        if not encoded:
            shutil.copyfileobj(source, file, 1024 * 1024)
            return
        rest = b""
        while chunk := source.read(_BASE64_CHUNK):
            text = rest + re.sub(rb"\s+", b"", chunk)
            whole = len(text) - len(text) % 4
            rest = text[whole:]
            file.write(_decoded(text[:whole]))
        file.write(_decoded(rest))


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise invalid(f"The part is not base64: {error}") from error
