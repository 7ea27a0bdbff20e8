"""Turns the HTTP stack's exceptions into this package's errors, which name the cause and no secrets."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests.exceptions as rex
import urllib3.exceptions as uex

from airflow_provider_atai.errors import AtaiConnectionError, AtaiTimeoutError

Timeout = tuple[float, float]
_MOST_CAUSES = 50

T = TypeVar("T")

_INVALID_URL = (rex.InvalidURL, rex.InvalidSchema, rex.MissingSchema, uex.LocationValueError, UnicodeError)
# How TLS reports a connection that ends in the middle; certificates and versions are not at fault.
_TLS_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
# What OpenSSL makes of a response in plain text.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
_LOST = (http.client.HTTPException, ConnectionError, rex.ConnectionError, uex.ProtocolError)

# Checked in this order: an outer error often wraps several of them.
_UNSENT: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((rex.ProxyError, uex.ProxyError), "proxy", "the proxy refused it or cannot be reached"),
    ((ssl.SSLError, uex.SSLError, rex.SSLError), "tls", "{host} does not speak TLS as expected"),
    ((socket.gaierror, uex.NameResolutionError), "dns", "the name of the host {host} does not resolve (DNS)"),
    ((ConnectionRefusedError,), "refused", "{host} refuses the connection; nothing listens there"),
    (_INVALID_URL, "url", "the address is not a valid URL"),
)


def translated(call: Callable[[], T], method: str, url: str, timeout: Timeout) -> T:
    """
    Return what ``call`` returns.

    :raises AtaiConnectionError: in place of any error of the HTTP stack.
    """
    try:
        return call()
    except (OSError, uex.HTTPError, http.client.HTTPException, UnicodeError) as exc:
        failure = explain(exc, method, url, timeout)
    # Outside the except block: the original errors contain the whole URL, and a presigned one is secret.
    raise failure


def explain(exc: BaseException, method: str, url: str, timeout: Timeout) -> AtaiConnectionError:
    """Return the error that says what went wrong; ``timeout`` has the (connect, read) seconds in force."""
    causes = _causes(exc)
    host = host_of(url)
    unsent = f"{method} {address_of(url)} was not sent:"
    certificate = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        said = certificate.verify_message or "not valid"
        return AtaiConnectionError(f"{unsent} the certificate of {host} was refused ({said}).", reason="tls")
    if any(isinstance(cause, _TLS_CUT) for cause in causes):
        return lost(method, url)
    known = _why_unsent(causes)
    if known is not None:
        return AtaiConnectionError(f"{unsent} {known[1].format(host=host)}.", reason=known[0])
    if any(isinstance(cause, rex.ConnectTimeout | uex.ConnectTimeoutError) for cause in causes):
        return AtaiTimeoutError(f"{unsent} no connection to {host} within {timeout[0]:g} s.")
    if any(isinstance(cause, rex.Timeout | uex.TimeoutError | TimeoutError) for cause in causes):
        return timed_out(method, url, timeout)
    if any(isinstance(cause, _LOST) for cause in causes):
        return lost(method, url)
    if "CA certificate bundle" in str(exc):
        # requests raises a bare OSError with this text if `verify` names a missing file.
        return AtaiConnectionError(
            f"{unsent} the CA bundle that the connection names does not exist.", reason="tls"
        )
    return AtaiConnectionError(f"{method} {address_of(url)} failed: {type(exc).__name__}.{_effect(method)}")


def lost(method: str, url: str) -> AtaiConnectionError:
    """Return the error for a connection that ended before the response was complete."""
    return AtaiConnectionError(
        f"The connection to {host_of(url)} was lost during {method} {urlsplit(url).path}.{_effect(method)}",
        reason="dropped",
    )


def incomplete(method: str, url: str) -> AtaiConnectionError:
    """Return the error for a compressed body that ends too early, although its length may be right."""
    return AtaiConnectionError(
        f"The response to {method} {address_of(url)} breaks off: its compressed content is incomplete."
        f"{_effect(method)}",
        reason="dropped",
    )


def undecodable(method: str, url: str) -> AtaiConnectionError:
    """Return the error for a body that is not compressed as its header says."""
    return AtaiConnectionError(
        f"The response to {method} {address_of(url)} cannot be decompressed.{_effect(method)}"
    )


def timed_out(method: str, url: str, timeout: Timeout) -> AtaiTimeoutError:
    """Return the error for a response that did not arrive completely in time."""
    return AtaiTimeoutError(
        f"{method} {address_of(url)} was not answered completely within {timeout[1]:g} s.{_effect(method)}"
    )


def address_of(url: str) -> str:
    """Return a URL without user info, query and fragment: they may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{host_of(url)}{parts.path}"


def host_of(url: str) -> str:
    """Return host and port of a URL, without user info."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _why_unsent(causes: list[BaseException]) -> tuple[str, str] | None:
    """Return the reason and the text for errors that come before a request is sent, None for others."""
    if any(getattr(cause, "reason", None) in _NO_TLS for cause in causes if isinstance(cause, ssl.SSLError)):
        return "http", "{host} does not speak TLS as expected; it may speak plain http"
    for kinds, reason, text in _UNSENT:
        if any(isinstance(cause, kinds) for cause in causes):
            return reason, text
    return None


def _effect(method: str) -> str:
    return "" if method == "GET" else " It is unknown whether the request took effect."


def _causes(exc: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    queue: list[Any] = [exc]
    while queue and len(found) < _MOST_CAUSES:
        current = queue.pop(0)
        if isinstance(current, BaseException) and not any(current is known for known in found):
            found.append(current)
            queue += [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]
    return found
