"""The door of the API: who has no valid key gets a 401, whatever the request is."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_atai.emulator.asgi import json_answer
from airflow_provider_atai.emulator.errors import envelope, error_entry
from airflow_provider_atai.emulator.settings import API_PREFIX, CLIENT_PREFIX
from airflow_provider_atai.emulator.state import Emulator

_ORGANISATION = "atai.organisation"


class Authentication:
    """ASGI middleware that knows the organisation of a request before its body is looked at."""

    def __init__(self, app: ASGIApp, emulator: Emulator) -> None:
        self._app = app
        self._emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_api(scope["path"]):
            await self._app(scope, receive, send)
            return
        header = Headers(scope=scope).get("authorization", "")
        organisation = self._emulator.organisations.of_header(header)
        if organisation is not None:
            scope[_ORGANISATION] = organisation
            await self._app(scope, receive, send)
            return
        message = "Invalid API key" if header else "Missing API key"
        body = (
            {"detail": message}
            if self._emulator.switches.authentication_errors == "detail"
            else envelope([error_entry("unauthorized", message)])
        )
        await json_answer(401, body).send(send)


def organisation_of(request: Request) -> str:
    """Return the uuid of the organisation whose key the request carries."""
    return str(request.scope[_ORGANISATION])


def _is_api(path: str) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in (API_PREFIX, CLIENT_PREFIX))
