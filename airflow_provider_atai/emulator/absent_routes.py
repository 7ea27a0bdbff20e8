"""The routes that the switches leave out."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_atai.emulator.asgi import json_answer
from airflow_provider_atai.emulator.settings import API_PREFIX, CLIENT_PREFIX, Switches
from airflow_provider_atai.emulator.state import Emulator


class AbsentRoutes:
    """ASGI middleware that answers for them as for any unknown path, whatever the request is."""

    def __init__(self, app: ASGIApp, emulator: Emulator) -> None:
        self._app = app
        self._emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_absent(scope["method"], scope["path"], self._emulator.switches):
            await json_answer(404, {"detail": "Not Found"}).send(send)
        else:
            await self._app(scope, receive, send)


def _is_absent(method: str, path: str, switches: Switches) -> bool:
    if path.startswith(f"{CLIENT_PREFIX}/fine-tune/") and not switches.fine_tune_under_api:
        return True
    if switches.third_party_endpoints:
        return False
    bare_path = path.removeprefix(API_PREFIX).removeprefix(CLIENT_PREFIX)
    return bare_path == "/fine-tune/status" or (
        method == "DELETE" and bare_path.startswith("/fine-tune/jobs/")
    )
