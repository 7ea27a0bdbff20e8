"""Requests are read strictly: Python, FastAPI and Pydantic by themselves accept more than the API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict

from airflow_provider_atai.emulator.errors import invalid
from airflow_provider_atai.emulator.settings import Switches


def _digits(value: object) -> object:
    # Pydantic would also read "1.0", "1_0" and " +1".
    if isinstance(value, str) and not re.fullmatch("-?[0-9]+", value):
        raise ValueError("it must be a whole number")
    return value


WholeNumber = Annotated[int, BeforeValidator(_digits)]


class RequestBody(BaseModel):
    """A JSON body or an object inside one: types are not converted, and unknown fields are kept."""

    model_config = ConfigDict(strict=True, extra="allow")


def refuse_unknown_fields(switches: Switches, *objects: RequestBody) -> None:
    """Refuse fields that no document names (400), if the switches say so."""
    extra = sorted({name for each in objects for name in each.model_extra or ()})
    if extra and switches.extra_fields == "refused":
        raise invalid(f"Unknown fields: {', '.join(extra)}")


class StrictJsonRoute(APIRoute):
    """A route that refuses NaN, unpaired surrogates, and nesting beyond Python's recursion limit."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's own handler, with a strict reader for the body."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_Request(request.scope, request.receive))

        return handle


class _Request(Request):
    async def json(self) -> Any:
        body = await self.body()
        try:
            # Versions of FastAPI differ in whether they require this header.
            if "content-type" not in self.headers:
                raise ValueError("there is no Content-Type")
            document = json.loads(body)
            # A document that cannot be written cannot be stored or quoted in a message.
            json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error
        return document
