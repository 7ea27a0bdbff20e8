"""An HTTP answer as one piece, where ASGI has several."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Send

JSON_TYPE = "application/json"


@dataclass
class Answer:
    """An HTTP answer that is held back."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def collect(self, message: Message) -> None:
        """Take a message as ``send`` would."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def send(self, send: Send, *, body: bytes | None = None, more: bool = False) -> None:
        """
        Send it.

        :param body: instead of its own body; the Content-Length stays when ``more`` is set.
        :param more: whether the answer is left unfinished.
        """
        sent = self.body if body is None else body
        headers = self.headers
        if not more:
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
            headers.append((b"content-length", str(len(sent)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": sent, "more_body": more})


def answer_of(status: int, body: bytes, content_type: str | None) -> Answer:
    """Return an answer with a body of any type."""
    headers = [] if content_type is None else [(b"content-type", content_type.encode())]
    return Answer(status, headers, body)


def json_answer(status: int, document: Any) -> Answer:
    """Return an answer with a JSON body."""
    return answer_of(status, json.dumps(document).encode(), JSON_TYPE)
