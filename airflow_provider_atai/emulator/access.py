"""Rejects requests without a valid key before anything else looks at them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_atai.emulator.errors import envelope, error_entry
from airflow_provider_atai.emulator.settings import API_PREFIX, CLIENT_PREFIX, Switches
from airflow_provider_atai.emulator.state import Emulator

_ORGANISATION = "atai.organisation"


class Access:
    """ASGI middleware: it checks the key, and then whether a switch leaves the route out."""

    def __init__(self, app: ASGIApp, emulator: Emulator) -> None:
        self._app = app
        self._emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None
        if scope["type"] == "http" and _is_api(scope["path"]):
            refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        header = Headers(scope=scope).get("authorization", "")
        organisation = self._emulator.organisations.of_header(header)
        switches = self._emulator.switches
        if organisation is None:
            message = "Invalid API key" if header else "Missing API key"
            if switches.authentication_errors == "detail":
                return JSONResponse({"detail": message}, 401)
            return JSONResponse(envelope([error_entry("unauthorized", message)]), 401)
        scope[_ORGANISATION] = organisation
        if _is_left_out(scope["method"], scope["path"], switches):
            return JSONResponse({"detail": "Not Found"}, 404)
        return None


async def _organisation(request: Request) -> str:
    return str(request.scope[_ORGANISATION])


# An argument of a route: the uuid of the organisation that the request's key belongs to.
Org = Annotated[str, Depends(_organisation)]


def _is_api(path: str) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in (API_PREFIX, CLIENT_PREFIX))


def _is_left_out(method: str, path: str, switches: Switches) -> bool:
    if path.startswith(f"{CLIENT_PREFIX}/fine-tune/") and not switches.fine_tune_under_api:
        return True
    if switches.third_party_endpoints:
        return False
    route = path.removeprefix(API_PREFIX).removeprefix(CLIENT_PREFIX)
    return route == "/fine-tune/status" or (method == "DELETE" and route.startswith("/fine-tune/jobs/"))
