"""Hides the API key and the signatures of presigned URLs in what the service says. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from urllib.parse import parse_qsl, quote, urlsplit

_HIDDEN = "***"
# Nothing shows more of a text.
_LONGEST_TEXT = 8000
_SHORTEST_SECRET = 16
# The query of any URL. A response may also quote it with escaped slashes, as JSON in JSON does.
_QUERY = re.compile(r"(https?:[/\\]{1,8}[^\s\"'<>?]{0,2000})\?[^\s\"'<>]+", re.IGNORECASE)
# A parameter that carries a permission: S3, Google, Azure and CloudFront have their own.
_PARAMETER = re.compile(
    r"(signature|credential|token|accesskeyid|key-pair-id|policy|\bsig)"
    r"((?:=|%3d|%253d|&#61;|\\u003d|\"\s*:\s*\")\s*)[^\s&\"'<>\\;]+",
    re.IGNORECASE,
)
# A bare signature: 256 bits or more in hex.
_HEX = re.compile(r"\b[0-9a-f]{64,}\b", re.IGNORECASE)


def redactor(api_key: str, url: str) -> Callable[[str], str]:
    """
    Return a function that hides the secrets of a request in a text of the service, and cuts a long one.

    :param api_key: the key of the client.
    :param url: the URL of the request, whose query may be a signature. The URLs in the text itself are not
        known; whatever looks like their signature is hidden.
    """
    query = urlsplit(url).query
    values = [value for _, value in parse_qsl(query) if len(value) >= _SHORTEST_SECRET]
    known = [*([query, escape(query), *values, *map(quote, values)] if values else []), api_key]

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, _HIDDEN)
        text = _QUERY.sub(rf"\1?{_HIDDEN}", text[:_LONGEST_TEXT])
        text = _PARAMETER.sub(rf"\1\2{_HIDDEN}", text)
        return _HEX.sub(_HIDDEN, text)

    return redact
