"""The HTTP client of the Archetype AI API: authentication, timeouts, retry of what is safe to repeat."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from airflow_provider_atai import __version__
from airflow_provider_atai.api.backoff import call_with_retry
from airflow_provider_atai.api.base_url import is_address, normalise_base_url
from airflow_provider_atai.api.error_body import (
    excerpt,
    is_json,
    parse_error_body,
    parse_retry_after,
    retry_after_of_body,
)
from airflow_provider_atai.api.transport import Answer, Body, Transport, read_blocks, signature_filter
from airflow_provider_atai.errors import AtaiResponseError, error_class

_DEFAULT_TIMEOUT = (10.0, 60.0)
# Waiting to send counts against the connect timeout, and a busy uplink may stall for longer than 10 s.
_STORAGE_TIMEOUT = (60.0, 120.0)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_HIDDEN = "***"
_SHORTEST_SECRET = 16
# What S3 says, with a 400, of a body that came too slowly or not completely.
_PASSING_CODES = frozenset({"requesttimeout", "incompletebody", "internalerror", "slowdown"})


def normalise_api_key(api_key: str) -> str:
    """
    Return the API key without surrounding white space.

    :raises ValueError: the key is empty or can be no key; the message does not show it.
    """
    key = api_key.strip()
    if not key:
        raise ValueError("The API key is empty.")
    if not all("!" <= character <= "~" for character in key):
        raise ValueError(
            "The API key holds a space, a control character or a non-ASCII character (not shown here). "
            "Paste the key alone, without 'Bearer'."
        )
    return key


def normalise_timeout(timeout: float | Sequence[float]) -> tuple[float, float]:
    """
    Return (connect, read) seconds.

    :param timeout: one number for both, or the two. The read timeout also bounds the whole answer.
    :raises ValueError: a number is not positive and finite.
    """
    pair = (timeout, timeout) if isinstance(timeout, int | float) else tuple(timeout)
    if len(pair) != 2 or not all(0 < float(part) < float("inf") for part in pair):
        raise ValueError(
            f"A timeout is a positive number of seconds or a (connect, read) pair, not {timeout!r}."
        )
    return float(pair[0]), float(pair[1])


class AtaiClient:
    """
    Calls the API and returns decoded JSON; raises only what :mod:`~airflow_provider_atai.errors` defines.

    It may be used from several threads.

    :param base_url: where the API is; see :func:`~airflow_provider_atai.api.base_url.normalise_base_url`.
    :param api_key: sent as bearer token to this host alone, never followed over a redirect.
    :param timeout: (connect, read) seconds or one number for both; read bounds the whole answer, too.
    :param verify: True, False, or the path of a CA bundle.
    :param proxy: URL of a proxy; None leaves it to the environment.
    :param max_attempts: the most attempts of a request that is safe to repeat.
    :param sleep: waits between attempts.
    :raises ValueError: the URL, the key or the timeout cannot be right.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout: float | tuple[float, float] = _DEFAULT_TIMEOUT,
        verify: bool | str = True,
        proxy: str | None = None,
        max_attempts: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base_url = normalise_base_url(base_url)
        self._api_key = normalise_api_key(api_key)
        self._timeout = normalise_timeout(timeout)
        self.max_attempts = max(1, max_attempts)
        self.sleep = sleep
        self._transport = Transport(verify=verify, proxy=proxy)

    @property
    def base_url(self) -> str:
        """The normalised base URL, without a trailing slash."""
        return self._base_url

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._base_url!r})"

    def __enter__(self) -> AtaiClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def request(
        self,
        method: str,
        *segments: str,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        safe_to_repeat: bool | None = None,
        max_attempts: int | None = None,
        timeout: float | tuple[float, float] | None = None,
    ) -> Any:
        """
        Send one API request and return the decoded JSON of its answer, or None for an empty answer.

        :param method: the HTTP method, upper case.
        :param segments: the path below the base URL, each segment quoted by itself.
        :param params: the query; None values are left out, lists become repeated parameters.
        :param json: the body; None sends none.
        :param safe_to_repeat: whether a transient failure is retried; by default only for GET.
        :param max_attempts: instead of the client's; 1 never repeats.
        :param timeout: instead of the client's.
        :raises ValueError: a segment is empty, ``.`` or ``..``, which would address something else.
        :raises AtaiConnectionError: no answer came, or not all of it.
        :raises AtaiApiError: the service answered with an HTTP error; the subclass says which.
        :raises AtaiResponseError: the answer is a redirect, too large, or no JSON.
        """
        url = self._url(segments, params)
        body = None if json is None else json_module.dumps(json, allow_nan=False).encode()
        headers = self._headers() if body is None else {**self._headers(), "Content-Type": "application/json"}
        limits = self._timeout if timeout is None else normalise_timeout(timeout)
        repeat = method == "GET" if safe_to_repeat is None else safe_to_repeat
        attempts = (self.max_attempts if max_attempts is None else max_attempts) if repeat else 1

        def attempt() -> Any:
            answer = self._transport.exchange(
                method, url, timeout=limits, headers=headers, token=self._api_key, body=body
            )
            return self._decoded(method, url, answer)

        return call_with_retry(attempt, attempts=attempts, sleep=self.sleep)

    def put_part(self, url: str, body: Body, *, timeout: float | tuple[float, float] | None = None) -> str:
        """
        Send one part of a file to its presigned URL, once, and return the ``ETag`` verbatim.

        Storage gets no key: the URL itself is the permission, and it stays out of errors and logs.

        :param body: bytes, or an iterable of bytes whose ``len()`` is the number of bytes.
        :raises AtaiApiError: storage refused it; ``codes`` has storage's own code, such as ``tokenexpired``.
        :raises AtaiResponseError: the answer is a redirect or has no ``ETag``.
        """
        limits = _STORAGE_TIMEOUT if timeout is None else normalise_timeout(timeout)
        with signature_filter.quiet():
            answer = self._transport.exchange(
                "PUT", url, timeout=limits, headers={"Accept": "*/*"}, body=body
            )
        self._raise_unless_success("PUT", url, answer, from_storage=True)
        etag = answer.headers.get("ETag")
        if not etag:
            raise AtaiResponseError(f"PUT {urlsplit(url).path} was accepted by storage, but without an ETag.")
        return str(etag)

    def stream(self, *segments: str) -> Iterator[bytes]:
        """
        GET a file and yield its bytes as they arrive; not repeated when it breaks off.

        A redirect, such as to storage, is followed; the key goes along only within the same origin.

        :raises AtaiError: as :meth:`request`; also in the middle of the body.
        """
        url = self._url(segments, None)
        home = _origin(url)
        for _ in range(_MOST_REDIRECTS + 1):
            at_home = _origin(url) == home
            with (
                signature_filter.quiet(),
                self._transport.open(
                    "GET",
                    url,
                    timeout=self._timeout,
                    headers=self._headers(),
                    token=self._api_key if at_home else None,
                ) as response,
            ):
                if response.status_code in _REDIRECTS:
                    url = self._redirect_target(url, response.headers.get("Location"))
                    continue
                if not 200 <= response.status_code < 300:
                    body = b"".join(_at_most(read_blocks(response, "GET", url, self._timeout), 100_000))
                    self._raise_unless_success(
                        "GET",
                        url,
                        Answer(response.status_code, response.headers, body),
                        from_storage=not at_home,
                    )
                yield from read_blocks(response, "GET", url, self._timeout)
                return
        raise AtaiResponseError(f"GET {urlsplit(url).path} was redirected more than {_MOST_REDIRECTS} times.")

    def _redirect_target(self, url: str, location: str | None) -> str:
        target = _joined(url, location)
        old, new = urlsplit(url), urlsplit(target)
        if not is_address(target) or target == url:
            raise AtaiResponseError(f"GET {old.path} was redirected to nowhere.")
        if old.scheme == "https" and new.scheme == "http":
            raise AtaiResponseError(
                f"GET {old.path} was redirected from https to http ({new.hostname}); refused."
            )
        return target

    def _headers(self) -> dict[str, str]:
        return {"Accept": "application/json", "User-Agent": f"airflow-provider-atai/{__version__}"}

    def _url(self, segments: Sequence[str], params: Mapping[str, Any] | None) -> str:
        path = "".join("/" + _quoted(segment) for segment in segments)
        present = {name: value for name, value in (params or {}).items() if value is not None}
        query = urlencode(present, doseq=True)
        return f"{self._base_url}{path}" + (f"?{query}" if query else "")

    def _redact(self, text: str) -> str:
        return text.replace(self._api_key, _HIDDEN)

    def _redactor(self, url: str) -> Callable[[str], str]:
        """Return what takes secrets out of an answer: the key, and the signature in a presigned URL."""
        query = urlsplit(url).query
        values = [value for _, value in parse_qsl(query) if len(value) >= _SHORTEST_SECRET]
        hidden = [query, escape(query), *values, *map(quote, values)] if values else []

        def redact(text: str) -> str:
            for secret in hidden:
                text = text.replace(secret, _HIDDEN)
            return self._redact(text)

        return redact

    def _raise_unless_success(
        self, method: str, url: str, answer: Answer, *, from_storage: bool = False
    ) -> None:
        if 200 <= answer.status < 300:
            return
        path = urlsplit(url).path
        if answer.status < 400:
            host = urlsplit(_joined(url, answer.headers.get("Location"))).hostname or "nowhere"
            raise AtaiResponseError(
                f"{method} {path} was redirected (HTTP {answer.status}) to {excerpt(host, 200)}. "
                "It was not followed and no key was sent there. Is the host of the connection right?"
            )
        retry_after = parse_retry_after(answer.headers.get("Retry-After"), datetime.now(UTC))
        if retry_after is None:
            retry_after = retry_after_of_body(answer.body)
        redact = self._redactor(url) if from_storage else self._redact
        details = parse_error_body(answer.body, answer.content_type, answer.status, redact=redact)
        status = answer.status
        if from_storage and any((detail.code or "").lower() in _PASSING_CODES for detail in details):
            status = 503
        # Storage speaks XML.
        raise error_class(status, is_api_answer=from_storage or is_json(answer.body))(
            status_code=answer.status,
            method=method,
            path=path,
            details=details,
            retry_after=retry_after,
        )

    def _decoded(self, method: str, url: str, answer: Answer) -> Any:
        self._raise_unless_success(method, url, answer)
        if not answer.body.strip():
            return None
        try:
            return json_module.loads(answer.body.decode("utf-8"))
        except (ValueError, RecursionError):
            pass
        begins = excerpt(self._redact(answer.body[:2000].decode("utf-8", errors="replace")), 120)
        raise AtaiResponseError(
            f"{method} {urlsplit(url).path} was answered with HTTP {answer.status}, but not with JSON "
            f"({excerpt(answer.content_type, 80) or 'no content type'}): {begins!r}. "
            "Is the host of the connection the API's base URL, with its version?"
        )


def _quoted(segment: str) -> str:
    refused = f"{segment!r} cannot be the id of a job, file or upload."
    if segment in ("", ".", ".."):
        raise ValueError(refused)
    try:
        return quote(segment, safe="")
    except UnicodeEncodeError:
        raise ValueError(refused) from None


def _joined(url: str, location: str | None) -> str:
    try:
        return urljoin(url, location or "")
    except ValueError:
        return ""


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _at_most(blocks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    taken = 0
    for block in blocks:
        yield block
        taken += len(block)
        if taken >= limit:
            return
