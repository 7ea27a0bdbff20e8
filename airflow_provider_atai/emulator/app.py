"""The emulator as one ASGI application."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from airflow_provider_atai.emulator.access import Access
from airflow_provider_atai.emulator.errors import RefusedError, entry_of_problem, envelope
from airflow_provider_atai.emulator.gateway import DropConnection, Gateway
from airflow_provider_atai.emulator.routes.control import control_router
from airflow_provider_atai.emulator.routes.direct_uploads import direct_upload_router
from airflow_provider_atai.emulator.routes.files import files_router
from airflow_provider_atai.emulator.routes.fine_tune import fine_tune_router
from airflow_provider_atai.emulator.routes.proxy_uploads import proxy_upload_router
from airflow_provider_atai.emulator.routes.storage import storage_router
from airflow_provider_atai.emulator.settings import API_PREFIX, CLIENT_PREFIX, CONTROL_PREFIX
from airflow_provider_atai.emulator.state import Emulator

_API_ROUTERS = (fine_tune_router, direct_upload_router, proxy_upload_router, files_router)


def create_app(emulator: Emulator, drop: DropConnection) -> ASGIApp:
    """Return the application. Its faults close connections with ``drop``."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        if error.status == 404 and emulator.switches.not_found_errors == "detail":
            return JSONResponse({"detail": error.message}, error.status)
        return JSONResponse(envelope([error.entry]), error.status)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        problems = error.errors()
        is_control = request.url.path.startswith(CONTROL_PREFIX)
        if is_control or emulator.switches.validation_errors == "detail_list":
            detail = [{key: problem[key] for key in ("loc", "msg", "type")} for problem in problems]
            return JSONResponse({"detail": detail}, 422)
        return JSONResponse(envelope([entry_of_problem(problem) for problem in problems]), 400)

    @app.exception_handler(HTTPException)
    async def framework_error(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith((f"{API_PREFIX}/", f"{CLIENT_PREFIX}/", CONTROL_PREFIX)):
            headers = dict(error.headers or {})
            return JSONResponse({"detail": error.detail}, error.status_code, headers=headers)
        # The service answers paths outside of its versions without a body.
        return Response(status_code=error.status_code)

    for prefix in (API_PREFIX, CLIENT_PREFIX):
        for router in _API_ROUTERS:
            app.include_router(router(emulator), prefix=prefix)
    app.include_router(storage_router(emulator))
    app.include_router(control_router(emulator))
    return Gateway(Access(app, emulator), emulator, drop)
