"""
One HTTP exchange, bounded in time and size, which raises only this package's errors.

By itself, requests would take credentials from ``.netrc``, follow redirects, wait forever for a response that
drips, and put presigned URLs into its exceptions.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from airflow_provider_atai.api.connection_errors import Timeout, address_of, lost, translated
from airflow_provider_atai.api.response_body import ACCEPTED_ENCODING, read_blocks
from airflow_provider_atai.api.watchdog import Watchdog
from airflow_provider_atai.errors import AtaiResponseError

LARGEST_BODY = 64 * 1024 * 1024
_POOL_SIZE = 16

Body = bytes | Iterable[bytes]


@dataclass(frozen=True)
class Response:
    """A complete HTTP response. The names of ``headers`` are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type") or ""


class _HeadersInTime:
    """Bounds the wait for the status line and headers; a socket timeout bounds the wait for each byte."""

    timeout: Any
    sock: Any

    def getresponse(self) -> Any:
        limit, sock = self.timeout, self.sock
        if not isinstance(limit, int | float) or sock is None:
            return super().getresponse()  # type: ignore[misc]
        with Watchdog(sock) as watchdog:
            try:
                with watchdog.limit(limit):
                    response = super().getresponse()  # type: ignore[misc]
            finally:
                if watchdog.has_cut:
                    # Even if a response was returned: http.client takes the cut for the end of the headers.
                    raise TimeoutError("the headers of the response did not arrive in time")
        # The connection may forget its socket while the body is still to be read.
        response.watched_socket = sock
        return response


class _HTTPConnection(_HeadersInTime, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_HeadersInTime, urllib3.connection.HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # Even with allow_redirects=False, Session.send reads the whole body of a redirect.
        return None


class Transport:
    """
    Sends requests over pooled connections.

    :param verify: True, False, or the path of a CA bundle.
    :param proxy: URL of a proxy for every request; None leaves it to the environment.
    """

    def __init__(self, *, verify: bool | str, proxy: str | None) -> None:
        self._verify = verify
        self._proxies = {"http": proxy, "https": proxy} if proxy else None
        self._session = _Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(pool_connections=_POOL_SIZE, pool_maxsize=_POOL_SIZE))

    def close(self) -> None:
        self._session.close()

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        timeout: Timeout,
        headers: Mapping[str, str],
        token: str | None = None,
        body: Body | None = None,
    ) -> Iterator[requests.Response]:
        """
        Send a request and yield the response, its body unread.

        :param token: the bearer token; None sends no ``Authorization``.
        :raises AtaiConnectionError: no response arrived.
        """

        # Any auth callable, even one that does nothing, keeps requests from reading .netrc.
        def authorise(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if token is not None:
                request.headers["Authorization"] = f"Bearer {token}"
            return request

        def send() -> requests.Response:
            return self._session.request(
                method,
                url,
                data=body,
                headers={"Accept-Encoding": ACCEPTED_ENCODING, **headers},
                auth=authorise,
                timeout=timeout,
                allow_redirects=False,
                proxies=self._proxies,
                verify=self._verify,
                stream=True,
            )

        response = translated(send, method, url, timeout)
        try:
            yield response
        finally:
            response.close()

    def exchange(
        self,
        method: str,
        url: str,
        *,
        timeout: Timeout,
        headers: Mapping[str, str],
        token: str | None = None,
        body: Body | None = None,
    ) -> Response:
        """
        Send a request and return the whole response, whatever its status.

        :raises AtaiConnectionError: no response arrived, or only a part of one.
        :raises AtaiResponseError: the response is larger than 64 MiB.
        """
        with self.open(method, url, timeout=timeout, headers=headers, token=token, body=body) as response:
            content = bytearray()
            for block in read_blocks(response, method, url, timeout):
                content += block
                if len(content) > LARGEST_BODY:
                    raise AtaiResponseError(
                        f"{method} {address_of(url)} was answered with more than {LARGEST_BODY} bytes; "
                        "the rest was not read."
                    )
            if not content and _is_cut(response):
                raise lost(method, url)
            return Response(response.status_code, response.headers, bytes(content))


def _is_cut(response: requests.Response) -> bool:
    """Tell whether a response's headers broke off; http.client takes such a response for an empty one."""
    announced = {"Content-Length", "Transfer-Encoding"} & {name.title() for name in response.headers}
    return response.status_code != 204 and not announced


_this_thread = threading.local()


@contextmanager
def signatures_unlogged() -> Iterator[None]:
    """Drop urllib3's debug lines while this thread uses presigned URLs: they contain the signature."""
    _this_thread.hides_signatures = True
    try:
        yield
    finally:
        _this_thread.hides_signatures = False


def _may_be_logged(record: logging.LogRecord) -> bool:
    return not getattr(_this_thread, "hides_signatures", False)


for _name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_may_be_logged)
