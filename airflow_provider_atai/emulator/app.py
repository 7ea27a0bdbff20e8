"""The emulator as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

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

_Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]
_API_ROUTERS = (fine_tune_router, direct_upload_router, proxy_upload_router, files_router)


def create_app(emulator: Emulator, drop: DropConnection) -> ASGIApp:
    """
    Return the application.

    :param drop: closes the connection of a request; only the server can do that.
    """
    handlers: dict[Any, _Handler] = {
        RefusedError: _refusal_handler(emulator),
        RequestValidationError: _validation_handler(emulator),
        HTTPException: _framework_error,
    }
    app = FastAPI(openapi_url=None, exception_handlers=handlers, redirect_slashes=False)
    for prefix in (API_PREFIX, CLIENT_PREFIX):
        for router in _API_ROUTERS:
            app.include_router(router(emulator), prefix=prefix)
    app.include_router(storage_router(emulator))
    app.include_router(control_router(emulator))
    return Gateway(Access(app, emulator), emulator, drop)


def _refusal_handler(emulator: Emulator) -> _Handler:
    async def answer(request: Request, refusal: RefusedError) -> Response:
        if refusal.status == 404 and emulator.switches.not_found_errors == "detail":
            return JSONResponse({"detail": refusal.message}, refusal.status)
        return JSONResponse(envelope([refusal.entry]), refusal.status)

    return answer


def _validation_handler(emulator: Emulator) -> _Handler:
    async def answer(request: Request, error: RequestValidationError) -> Response:
        problems = error.errors()
        is_control = request.url.path.startswith(CONTROL_PREFIX)
        if is_control or emulator.switches.validation_errors == "detail_list":
            detail = [{key: problem[key] for key in ("loc", "msg", "type")} for problem in problems]
            return JSONResponse({"detail": detail}, 422)
        return JSONResponse(envelope([entry_of_problem(problem) for problem in problems]), 400)

    return answer


async def _framework_error(request: Request, error: HTTPException) -> Response:
    path = request.url.path
    if path.startswith((f"{API_PREFIX}/", f"{CLIENT_PREFIX}/", CONTROL_PREFIX)):
        return JSONResponse({"detail": error.detail}, error.status_code, headers=dict(error.headers or {}))
    # The service answers paths outside of its versions without a body.
    return Response(status_code=error.status_code)
