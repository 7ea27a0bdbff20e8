"""Request bodies that are JSON and nothing more: Python's own reader takes more than that."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class StrictJsonRoute(APIRoute):
    """A route that refuses NaN, halves of surrogate pairs, and depths beyond Python's recursion limit."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler, with another reader."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_Request(request.scope, request.receive))

        return handle


class _Request(Request):
    async def json(self) -> Any:
        body = await self.body()
        try:
            # Versions of FastAPI differ in whether they ask for it.
            if "content-type" not in self.headers:
                raise ValueError("there is no Content-Type")
            document = json.loads(body)
            # What cannot be written cannot be stored, nor shown in a message.
            json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error
        return document
