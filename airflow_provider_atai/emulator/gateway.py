"""What every request passes first: the request log, and the faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_atai.emulator.asgi import JSON_TYPE, Answer, answer_of, json_answer
from airflow_provider_atai.emulator.errors import envelope, error_entry
from airflow_provider_atai.emulator.faults import FaultRule
from airflow_provider_atai.emulator.state import Emulator

CONTROL_PREFIX = "/_emulator"
_LARGEST_LOGGED_BODY = 1024 * 1024

DropConnection = Callable[[Scope], None]


class Gateway:
    """
    The outermost ASGI application.

    :param drop: closes the connection of a request without another byte.
    """

    def __init__(self, app: ASGIApp, emulator: Emulator, drop: DropConnection) -> None:
        self._app = app
        self._emulator = emulator
        self._drop = drop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        hit = self._emulator.faults.take(method, path)
        raw_path = scope["raw_path"].decode("ascii", errors="replace")
        query = scope["query_string"].decode("ascii", errors="replace")
        number = self._emulator.requests.begin(method, raw_path, query, hit[0] if hit else None)
        body = _JsonBody(scope, receive)
        status = _Status(send)
        is_to_drop = False
        try:
            if hit is None:
                await self._app(scope, body.receive, status.send)
            else:
                is_to_drop = await self._misbehave(hit[1], scope, body.receive, status.send)
        finally:
            self._emulator.requests.end(number, status.sent, body.content)
        # After the log: who has lost the connection may read it at once.
        if is_to_drop:
            await self._hang_up(scope, receive)

    async def _misbehave(self, rule: FaultRule, scope: Scope, receive: Receive, send: Send) -> bool:
        """Do what a rule says, and return whether the connection has to be closed then."""
        answer = fault_answer(rule) if rule.effect == "answer" else Answer()
        if rule.effect in ("answer", "drop_before"):
            # For the log; nothing else reads it.
            await _read_to_the_end(receive)
        else:
            await self._app(scope, receive, answer.collect)
        if rule.retry_after is not None:
            answer.headers.append((b"retry-after", str(rule.retry_after).encode()))
        await asyncio.sleep(rule.delay)
        half = answer.body[: len(answer.body) // 2]
        match rule.effect:
            case "drop_before" | "drop_after":
                return True
            case "drop_midway":
                # With an empty body the head would be the whole answer.
                if answer.body:
                    await answer.send(send, body=half, more=True)
                return True
            case "truncate":
                await answer.send(send, body=half)
            case "merge":
                await answer.send(send, body=_merged(answer.body, rule))
            case "answer" | "delay":
                await answer.send(send)
        return False

    async def _hang_up(self, scope: Scope, receive: Receive) -> None:
        self._drop(scope)
        # Until the server has noticed, it would answer 500 to a request that ends without an answer.
        while (await receive())["type"] != "http.disconnect":
            pass


class _JsonBody:
    """Keeps a copy of a JSON request's body while the application reads it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._wanted = Headers(scope=scope).get("content-type", "").startswith(JSON_TYPE)
        self.content: bytes | None = b"" if self._wanted else None

    async def receive(self) -> Message:
        message = await self._receive()
        if self.content is not None and message["type"] == "http.request":
            self.content += message.get("body", b"")
            if len(self.content) > _LARGEST_LOGGED_BODY:
                self.content = None
        return message


class _Status:
    """Notices the status of an answer as it is sent."""

    def __init__(self, send: Callable[[Message], Awaitable[None]]) -> None:
        self._send = send
        self.sent: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.sent = message["status"]
        await self._send(message)


async def _read_to_the_end(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


def fault_answer(rule: FaultRule) -> Answer:
    """Return the answer of a rule whose effect is ``answer``."""
    status = rule.status or {"url_expired": 403, "token_expired": 400}.get(rule.body, 503)
    match rule.body:
        case "errors":
            return json_answer(status, envelope([error_entry(rule.code, rule.message)]))
        case "detail":
            return json_answer(status, {"detail": rule.message})
        case "detail_list":
            entry = {"loc": ["body"], "msg": rule.message, "type": "value_error"}
            return json_answer(status, {"detail": [entry]})
        case "old_error":
            error = {"code": rule.code, "message": rule.message, "details": {"retry_after": rule.retry_after}}
            return json_answer(status, {"error": error})
        case "html":
            page = f"<html><head><title>{status}</title></head><body><h1>{rule.message}</h1></body></html>"
            return answer_of(status, page.encode(), "text/html; charset=utf-8")
        case "json":
            return json_answer(status, rule.content)
        case "url_expired":
            return storage_error(status, "AccessDenied", "Request has expired")
        case "token_expired":
            return storage_error(status, "TokenExpired", "The provided token has expired.")
        case _:
            return answer_of(status, b"", None)


def storage_error(status: int, code: str, message: str) -> Answer:
    """Return an answer in the form of the object storage behind the part URLs."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'
    return answer_of(status, text.encode(), "application/xml")


def _merged(body: bytes, rule: FaultRule) -> bytes:
    try:
        document = json.loads(body)
    except ValueError:
        return body
    if not isinstance(document, dict) or not isinstance(rule.content, dict):
        return body
    return json.dumps({**document, **rule.content}).encode()
