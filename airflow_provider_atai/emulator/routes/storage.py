"""The object storage behind the part URLs. It knows signatures, no API keys."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from airflow_provider_atai.emulator.asgi import Answer
from airflow_provider_atai.emulator.clock import real_now
from airflow_provider_atai.emulator.gateway import storage_error
from airflow_provider_atai.emulator.presigning import EXPIRES, SIGNATURE, is_signed
from airflow_provider_atai.emulator.state import Emulator


def storage_router(emulator: Emulator) -> APIRouter:
    """Return the route that takes the parts' bytes."""
    router = APIRouter(prefix="/_storage")

    @router.put("/{upload_id}/{part_number}")
    async def put_part(request: Request, upload_id: str, part_number: int) -> Response:
        folder = emulator.uploads.incoming(upload_id)
        refusal = _refusal(request, emulator.secret, upload_id, part_number)
        if refusal is not None or folder is None:
            return _response(refusal or _no_such_upload())
        content = folder / f"incoming-{uuid.uuid4().hex}"
        try:
            etag = await _save(request, content)
            # The upload may have been completed or aborted while the bytes came.
            if emulator.uploads.incoming(upload_id) is None:
                return _response(_no_such_upload())
            emulator.uploads.receive(upload_id, part_number, etag, content)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            content.unlink(missing_ok=True)
        return Response(status_code=200, headers={"ETag": f'"{etag}"'})

    return router


def _refusal(request: Request, secret: str, upload_id: str, part_number: int) -> Answer | None:
    expires = request.query_params.get(EXPIRES, "")
    signature = request.query_params.get(SIGNATURE, "")
    if "authorization" in request.headers:
        return storage_error(400, "InvalidArgument", "Only one auth mechanism allowed")
    if not is_signed(secret, upload_id, part_number, expires, signature):
        return storage_error(403, "SignatureDoesNotMatch", "The request signature does not match.")
    if "content-type" in request.headers:
        return storage_error(403, "SignatureDoesNotMatch", "The URL was signed without a Content-Type.")
    if real_now() >= float(expires):
        return storage_error(403, "AccessDenied", "Request has expired")
    if "content-length" not in request.headers:
        return storage_error(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    return None


def _no_such_upload() -> Answer:
    return storage_error(404, "NoSuchUpload", "The specified upload does not exist.")


async def _save(request: Request, content: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with content.open("wb") as file:
        async for chunk in request.stream():
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, media_type="application/xml")
