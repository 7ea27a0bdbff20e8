"""Reads what the service says in its error responses. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

from airflow_provider_atai.errors import ErrorDetail

_LONGEST_TEXT = 500
_MOST_ENTRIES = 20
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_XML_CODE = re.compile(r"<Code>\s*([\w.-]+)\s*</Code>")
_XML_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
_LARGEST_MARKUP = 20_000

Redact = Callable[[str], str]


def excerpt(text: str, length: int = _LONGEST_TEXT) -> str:
    """Return text on one line, without control characters, cut at ``length`` characters."""
    # Cut first: a body of megabytes need not be scanned to show its first words.
    words = "".join(c if c.isprintable() else " " for c in text[: length * 4]).split()
    line = " ".join(words)
    return line if len(line) <= length else line[: length - 1] + "…"


def parse_error_body(
    body: bytes, content_type: str, status: int, *, redact: Redact = str
) -> tuple[ErrorDetail, ...]:
    """
    Return the entries of an error response; empty if the response says nothing.

    It reads ``{"errors": [...]}``, ``{"detail": "..."}``, FastAPI's ``{"detail": [{loc, msg, type}]}``, the
    old ``{"error": {code, message}}``, object storage's XML, the title of an HTML page, and plain text.

    :param body: the body as received.
    :param content_type: the ``Content-Type`` header; empty if there was none.
    :param status: the HTTP status, named if an HTML page has no title.
    :param redact: removes secrets; applied to every text before it is cut.
    """
    text = body.decode("utf-8", errors="replace").strip()
    if not text:
        return ()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return _from_markup(redact(text), content_type, status)
    return tuple(islice(_from_json(data, redact), _MOST_ENTRIES))


def is_json(body: bytes) -> bool:
    """Tell whether a body is JSON, as every response of the API is; a gateway's page is not."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def retry_after_of_body(body: bytes) -> float | None:
    """Return ``error.details.retry_after`` of the old error shape in seconds, None if it is absent."""
    value = json.loads(body) if is_json(body) else None
    for key in ("error", "details", "retry_after"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return _seconds(value)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """
    Return the seconds that a ``Retry-After`` header asks for, never negative; None if it is unreadable.

    :param value: seconds or an HTTP date.
    :param now: the time to count an HTTP date from, with a time zone.
    """
    if not value:
        return None
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _from_json(data: Any, redact: Redact) -> Iterator[ErrorDetail]:
    if data == {}:
        return
    if isinstance(data, Mapping):
        data = next((data[key] for key in ("errors", "detail", "error") if data.get(key)), data)
    values = data if isinstance(data, list) else [data]
    for value in values:
        detail = _entry(value, redact)
        if detail is not None:
            yield detail


def _entry(value: Any, redact: Redact) -> ErrorDetail | None:
    def text(raw: Any) -> str | None:
        if raw is None or raw == "":
            return None
        spelled = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, default=str)
        return excerpt(redact(spelled)) or None

    if not isinstance(value, Mapping):
        message = text(value)
        return ErrorDetail(message) if message else None
    message = text(value.get("message")) or text(value.get("msg")) or text(value.get("detail"))
    code = text(value.get("code")) or text(value.get("type"))
    location = value.get("loc")
    if message and isinstance(location, list) and location:
        # The location is what makes FastAPI's validation errors useful.
        where = text(".".join(str(step) for step in location if step != "body"))
        message = f"{where}: {message}" if where else message
    if not message and not code:
        message = text(value)
    if not message and not code:
        return None
    return ErrorDetail(
        message=message or "no message",
        code=code,
        suggestion=text(value.get("suggestion")),
        error_uid=text(value.get("error_uid")),
    )


def _from_markup(text: str, content_type: str, status: int) -> tuple[ErrorDetail, ...]:
    head = text[:_LARGEST_MARKUP]
    code = _XML_CODE.search(head)
    if code:
        said = _XML_MESSAGE.search(head)
        return (ErrorDetail(excerpt(said[1] if said else "") or "no message", code=code[1]),)
    if "html" not in content_type.lower() and not head.lstrip().startswith("<"):
        return (ErrorDetail(excerpt(head)),)
    title = _TITLE.search(head)
    named = excerpt(title[1] if title else "", 200) or f"no title, status {status}"
    return (ErrorDetail(f"an HTML page, not the API's response: {named}"),)
