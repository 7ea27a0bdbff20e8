"""The HTTP client of the Archetype AI API: authentication, timeouts, retries of what is safe to repeat."""

from __future__ import annotations

import copy
import json as json_module
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlencode, urlsplit

from airflow_provider_atai import __version__
from airflow_provider_atai.api.backoff import call_with_retry
from airflow_provider_atai.api.base_url import (
    is_address,
    normalise_base_url,
    origin_of,
    path_segment,
    redirect_target,
)
from airflow_provider_atai.api.error_body import (
    excerpt,
    is_json,
    parse_error_body,
    parse_retry_after,
    retry_after_of_body,
)
from airflow_provider_atai.api.redaction import redactor
from airflow_provider_atai.api.response_body import read_blocks
from airflow_provider_atai.api.transport import Body, Response, Transport, signatures_unlogged
from airflow_provider_atai.errors import AtaiResponseError, UnsendableRequestError, error_class

_HEADERS = {"Accept": "application/json", "User-Agent": f"airflow-provider-atai/{__version__}"}
_DEFAULT_TIMEOUT = (10.0, 60.0)
# Waiting to send counts against the connect timeout, and a busy uplink may stall for more than 10 s.
_STORAGE_TIMEOUT = (60.0, 120.0)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_MOST_ERROR_BLOCKS = 50
# Of a download, so many bytes are due within each read timeout.
_PACE = 1024 * 1024
# S3 answers 400 with one of these to a body that arrived too slowly or incompletely.
_PASSING_CODES = frozenset({"requesttimeout", "incompletebody", "internalerror", "slowdown"})


def normalise_api_key(api_key: str) -> str:
    """
    Return the API key without surrounding white space.

    :raises ValueError: the key is empty or malformed; the message does not show it.
    """
    key = api_key.strip()
    if not key:
        raise ValueError("The API key is empty.")
    if not all("!" <= character <= "~" for character in key):
        raise ValueError(
            "The API key contains a space, a control character or a non-ASCII character (not shown here). "
            "Paste the key alone, without 'Bearer'."
        )
    return key


def normalise_timeout(timeout: float | Sequence[float]) -> tuple[float, float]:
    """
    Return (connect, read) seconds.

    :param timeout: one number for both, or a pair. The read timeout also bounds the whole response.
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

    Several threads may share a client.

    :param base_url: see :func:`~airflow_provider_atai.api.base_url.normalise_base_url`.
    :param api_key: sent as a bearer token to this origin only; a redirect elsewhere does not get it.
    :param timeout: (connect, read) seconds or one number for both; read also bounds the whole response.
    :param verify: True, False, or the path of a CA bundle.
    :param proxy: URL of a proxy; None leaves it to the environment.
    :param transport: carries the requests instead of one made from ``verify`` and ``proxy``.
    :param max_attempts: the most attempts of a request that is safe to repeat.
    :raises ValueError: the URL, the key or the timeout is malformed.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout: float | tuple[float, float] = _DEFAULT_TIMEOUT,
        verify: bool | str = True,
        proxy: str | None = None,
        transport: Transport | None = None,
        max_attempts: int = 4,
    ) -> None:
        self.base_url = normalise_base_url(base_url)
        self._api_key = normalise_api_key(api_key)
        self._timeout = normalise_timeout(timeout)
        self.max_attempts = max(1, max_attempts)
        self._transport = transport or Transport(verify=verify, proxy=proxy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    def __enter__(self) -> AtaiClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def with_options(
        self,
        *,
        timeout: float | tuple[float, float] | None = None,
        at_most: float | None = None,
        max_attempts: int | None = None,
    ) -> AtaiClient:
        """
        Return a client with other options, each None for this one's, that shares the connections.

        :param at_most: seconds that neither timeout exceeds.
        """
        other = copy.copy(self)
        if timeout is not None:
            other._timeout = normalise_timeout(timeout)
        if at_most is not None:
            connect, read = other._timeout
            other._timeout = (min(connect, at_most), min(read, at_most))
        if max_attempts is not None:
            other.max_attempts = max(1, max_attempts)
        return other

    def request(
        self,
        method: str,
        *segments: str,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        safe_to_repeat: bool | None = None,
    ) -> Any:
        """
        Send one API request and return the decoded JSON of the response, or None if it is empty.

        :param method: the HTTP method, upper case.
        :param segments: the path below the base URL; each segment is quoted by itself.
        :param params: the query; None values are left out, lists become repeated parameters.
        :param json: the body; None sends none.
        :param safe_to_repeat: whether a transient failure is retried; by default only for GET.
        :raises UnsendableRequestError: a segment is empty, ``.`` or ``..``, which would address something
            else, or a value cannot be written in UTF-8 or JSON; nothing was sent.
        :raises AtaiConnectionError: no response arrived, or only a part of one.
        :raises AtaiApiError: the service responded with an HTTP error; the subclass says which.
        :raises AtaiResponseError: the response is a redirect, too large, or not JSON.
        """
        url = self._url(segments, params)
        body = None if json is None else _written(json)
        headers = _HEADERS if body is None else {**_HEADERS, "Content-Type": "application/json"}
        repeat = method == "GET" if safe_to_repeat is None else safe_to_repeat

        def attempt() -> Any:
            response = self._transport.exchange(
                method, url, timeout=self._timeout, headers=headers, token=self._api_key, body=body
            )
            return self._decoded(method, url, response)

        return call_with_retry(attempt, attempts=self.max_attempts if repeat else 1, sleep=time.sleep)

    def put_part(self, url: str, body: Body) -> str:
        """
        Send one part of a file to its presigned URL, once, and return the ``ETag`` verbatim.

        Storage gets no key: the URL itself is the permission, and it stays out of errors and logs.

        :param body: bytes, or an iterable of bytes whose ``len()`` is the number of bytes.
        :raises AtaiApiError: storage refused it; ``codes`` has storage's own code, such as ``tokenexpired``.
        :raises AtaiResponseError: the response is a redirect or has no ``ETag``.
        """
        with signatures_unlogged():
            response = self._transport.exchange(
                "PUT", url, timeout=_STORAGE_TIMEOUT, headers={"Accept": "*/*"}, body=body
            )
        self._check_status("PUT", url, response, from_storage=True)
        etag = response.headers.get("ETag")
        if not etag:
            raise AtaiResponseError(f"Storage accepted PUT {urlsplit(url).path}, but sent no ETag.")
        return str(etag)

    def stream(self, *segments: str) -> Iterator[bytes]:
        """
        GET a file and yield its bytes as they arrive. A broken download is not repeated.

        Each MiB has to arrive within the read timeout.

        A redirect, such as to storage, is followed; only the same origin gets the key.

        :raises AtaiError: as :meth:`request`, also in the middle of the body.
        """
        url = self._url(segments, None)
        home = origin_of(url)
        for _ in range(_MOST_REDIRECTS + 1):
            token = self._api_key if origin_of(url) == home else None
            opening = self._transport.open("GET", url, timeout=self._timeout, headers=_HEADERS, token=token)
            with signatures_unlogged(), opening as opened:
                if opened.status_code in _REDIRECTS:
                    url = _followed(url, opened.headers.get("Location"))
                    continue
                if not 200 <= opened.status_code < 300:
                    blocks = islice(read_blocks(opened, "GET", url, self._timeout), _MOST_ERROR_BLOCKS)
                    response = Response(opened.status_code, opened.headers, b"".join(blocks))
                    self._check_status("GET", url, response, from_storage=token is None)
                yield from read_blocks(opened, "GET", url, self._timeout, pace=_PACE)
                return
        raise AtaiResponseError(f"GET {urlsplit(url).path} was redirected more than {_MOST_REDIRECTS} times.")

    def _url(self, segments: Sequence[str], params: Mapping[str, Any] | None) -> str:
        path = "".join("/" + path_segment(segment) for segment in segments)
        present = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            query = urlencode(present, doseq=True)
        except UnicodeEncodeError:
            raise UnsendableRequestError(
                f"The parameters {present!r} cannot be written in UTF-8; nothing was sent."
            ) from None
        return f"{self.base_url}{path}" + (f"?{query}" if query else "")

    def _check_status(self, method: str, url: str, response: Response, *, from_storage: bool = False) -> None:
        if 200 <= response.status < 300:
            return
        path = urlsplit(url).path
        if response.status < 400:
            host = urlsplit(redirect_target(url, response.headers.get("Location"))).hostname or "nowhere"
            raise AtaiResponseError(
                f"{method} {path} was redirected (HTTP {response.status}) to {excerpt(host, 200)}. "
                "The redirect was not followed and no key was sent there. Check the connection's host."
            )
        retry_after = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        if retry_after is None:
            retry_after = retry_after_of_body(response.body)
        redact = redactor(self._api_key, url)
        details = parse_error_body(response.body, response.content_type, response.status, redact=redact)
        status = response.status
        if from_storage and any((detail.code or "").lower() in _PASSING_CODES for detail in details):
            status = 503
        # Storage responds with XML.
        raise error_class(status, is_api_answer=from_storage or is_json(response.body))(
            status_code=response.status, method=method, path=path, details=details, retry_after=retry_after
        )

    def _decoded(self, method: str, url: str, response: Response) -> Any:
        self._check_status(method, url, response)
        if not response.body.strip():
            return None
        try:
            return json_module.loads(response.body.decode("utf-8"))
        except (ValueError, RecursionError):
            pass
        redact = redactor(self._api_key, url)
        begins = excerpt(redact(response.body[:2000].decode("utf-8", errors="replace")), 120)
        raise AtaiResponseError(
            f"{method} {urlsplit(url).path} was answered with HTTP {response.status}, but not with JSON "
            f"({excerpt(response.content_type, 80) or 'no content type'}): {begins!r}. "
            "Check that the connection's host is the API's base URL, with its version."
        )


def _written(document: Any) -> bytes:
    try:
        return json_module.dumps(document, allow_nan=False).encode()
    except (ValueError, TypeError) as error:
        raise UnsendableRequestError(
            f"The request cannot be written as JSON ({error}); nothing was sent."
        ) from None


def _followed(url: str, location: str | None) -> str:
    target = redirect_target(url, location)
    old, new = urlsplit(url), urlsplit(target)
    if not is_address(target) or target == url:
        raise AtaiResponseError(f"GET {old.path} was redirected to nowhere.")
    if old.scheme == "https" and new.scheme == "http":
        raise AtaiResponseError(
            f"GET {old.path} was redirected from https to http ({new.hostname}); refused."
        )
    return target
