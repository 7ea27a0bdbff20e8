"""What every request passes first: the request log and the faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_atai.emulator.errors import envelope, error_entry, storage_error
from airflow_provider_atai.emulator.faults import FaultRule
from airflow_provider_atai.emulator.settings import CONTROL_PREFIX
from airflow_provider_atai.emulator.state import Emulator

_JSON = "application/json"
_LARGEST_LOGGED_BODY = 1024 * 1024
# HTTP has no body for these. The server would break off in the middle of sending one.
_WITHOUT_BODY = (204, 304)

DropConnection = Callable[[Scope], None]


class Gateway:
    """
    The outermost ASGI application.

    :param drop: closes the connection of a request without sending another byte.
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
        seen = _Observer(scope, receive, send)
        must_drop = False
        try:
            if hit is None:
                await self._app(scope, seen.receive, seen.send)
            else:
                must_drop = await self._misbehave(hit[1], scope, seen.receive, seen.send)
        finally:
            self._emulator.requests.end(number, seen.status, seen.body)
        # After the log: the client may read the log as soon as it has lost the connection.
        if must_drop:
            await self._hang_up(scope, receive)

    async def _misbehave(self, rule: FaultRule, scope: Scope, receive: Receive, send: Send) -> bool:
        """Do what a rule says, and return whether the connection must then be closed."""
        answer = _fault_answer(rule) if rule.effect == "answer" else _Answer()
        if rule.effect in ("answer", "drop_before"):
            # For the log: nothing else reads this body.
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
        # Until the server notices, it would answer 500 to a request that ends without an answer.
        while (await receive())["type"] != "http.disconnect":
            pass


@dataclass
class _Answer:
    """An HTTP answer that is held back."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def collect(self, message: Message) -> None:
        """Take a message in the place of ``send``."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def send(self, send: Send, *, body: bytes | None = None, more: bool = False) -> None:
        """Send it, perhaps with another body. ``more`` keeps the Content-Length and leaves it unfinished."""
        sent = self.body if body is None else body
        headers = self.headers
        if self.status in _WITHOUT_BODY:
            sent, more = b"", False
        if not more:
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
            if self.status not in _WITHOUT_BODY:
                headers.append((b"content-length", str(len(sent)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": sent, "more_body": more})


class _Observer:
    """Notes the JSON body of a request and the status of its answer as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        is_json = Headers(scope=scope).get("content-type", "").startswith(_JSON)
        self.body: bytes | None = b"" if is_json else None
        self.status: int | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if self.body is not None and message["type"] == "http.request":
            self.body += message.get("body", b"")
            if len(self.body) > _LARGEST_LOGGED_BODY:
                self.body = None
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


async def _read_to_the_end(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


def _fault_answer(rule: FaultRule) -> _Answer:
    status = rule.status or {"url_expired": 403, "token_expired": 400}.get(rule.body, 503)
    match rule.body:
        case "errors":
            return _json_answer(status, envelope([error_entry(rule.code, rule.message)]))
        case "detail":
            return _json_answer(status, {"detail": rule.message})
        case "detail_list":
            entry = {"loc": ["body"], "msg": rule.message, "type": "value_error"}
            return _json_answer(status, {"detail": [entry]})
        case "old_error":
            error = {"code": rule.code, "message": rule.message, "details": {"retry_after": rule.retry_after}}
            return _json_answer(status, {"error": error})
        case "json":
            return _json_answer(status, rule.content)
        case "html":
            page = f"<html><head><title>{status}</title></head><body><h1>{rule.message}</h1></body></html>"
            return _answer(status, page, "text/html; charset=utf-8")
        case "url_expired":
            return _answer(status, storage_error("AccessDenied", "Request has expired"), "application/xml")
        case "token_expired":
            error_text = storage_error("TokenExpired", "The provided token has expired.")
            return _answer(status, error_text, "application/xml")
        case "empty":
            return _Answer(status)


def _json_answer(status: int, document: Any) -> _Answer:
    return _answer(status, json.dumps(document), _JSON)


def _answer(status: int, body: str, content_type: str) -> _Answer:
    return _Answer(status, [(b"content-type", content_type.encode())], body.encode())


def _merged(body: bytes, rule: FaultRule) -> bytes:
    try:
        document = json.loads(body)
    except ValueError:
        return body
    if not isinstance(document, dict):
        return body
    return json.dumps({**document, **rule.content}).encode()
