"""The object storage behind the part URLs. It checks signatures and takes no API key."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from airflow_provider_atai.emulator.clock import real_now
from airflow_provider_atai.emulator.errors import storage_error
from airflow_provider_atai.emulator.files.parts import EXPIRES, SIGNATURE, is_signed
from airflow_provider_atai.emulator.state import Emulator

_NO_SUCH_UPLOAD = (404, "NoSuchUpload", "The specified upload does not exist.")


def storage_router(emulator: Emulator) -> APIRouter:
    """Return the route that takes the parts' bytes."""
    router = APIRouter(prefix="/_storage")
    uploads = emulator.uploads

    @router.put("/{upload_id}/{part_number}")
    async def put_part(request: Request, upload_id: str, part_number: int) -> Response:
        folder = uploads.incoming(upload_id)
        refusal = _refusal(request, emulator, upload_id, part_number)
        if refusal is not None or folder is None:
            return refusal or _error(*_NO_SUCH_UPLOAD)
        content = folder / f"incoming-{uuid.uuid4().hex}"
        try:
            etag = await _save(request, content)
            # The upload may have been completed or aborted while the bytes came.
            if uploads.incoming(upload_id) is None:
                return _error(*_NO_SUCH_UPLOAD)
            uploads.receive(upload_id, part_number, etag, content)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            content.unlink(missing_ok=True)
        response = Response(status_code=200)
        # Spelled as storage does it: shell scripts look for it so. Starlette would write it in lower case.
        response.raw_headers.append((b"ETag", f'"{etag}"'.encode()))
        return response

    return router


def _refusal(request: Request, emulator: Emulator, upload_id: str, part_number: int) -> Response | None:
    expires = request.query_params.get(EXPIRES, "")
    signature = request.query_params.get(SIGNATURE, "")
    if "authorization" in request.headers:
        return _error(400, "InvalidArgument", "Only one auth mechanism allowed")
    if not is_signed(emulator.secret, upload_id, part_number, expires, signature):
        return _error(403, "SignatureDoesNotMatch", "The request signature does not match.")
    if "content-type" in request.headers and emulator.switches.part_content_type == "refused":
        return _error(403, "SignatureDoesNotMatch", "The URL was signed without a Content-Type.")
    if real_now() >= float(expires):
        return _error(403, "AccessDenied", "Request has expired")
    if "content-length" not in request.headers:
        return _error(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    return None


def _error(status: int, code: str, message: str) -> Response:
    return Response(storage_error(code, message), status, media_type="application/xml")


async def _save(request: Request, content: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with content.open("wb") as file:
        async for chunk in request.stream():
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
