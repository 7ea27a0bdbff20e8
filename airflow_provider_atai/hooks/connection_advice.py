"""Says what is wrong with a connection, given the error of a test call. Pure."""

from __future__ import annotations

from airflow_provider_atai.api.base_url import DEFAULT_BASE_URL
from airflow_provider_atai.errors import (
    AtaiApiError,
    AtaiAuthenticationError,
    AtaiConfigurationError,
    AtaiConnectionError,
    AtaiGatewayNotFoundError,
    AtaiGatewayRefusalError,
    AtaiNotFoundError,
    AtaiPermissionError,
    AtaiRateLimitError,
    AtaiResponseError,
    AtaiServerError,
)

_ADVICE_BY_REASON = {
    "dns": "The host name does not resolve. Check the host of the connection.",
    "refused": "Nothing listens at that address. Check the host and port of the connection.",
    "tls": "The TLS certificate was not accepted. Check the host, or set 'verify' for a private authority.",
    "http": "The address is https, and the server speaks http, as the emulator does. Begin the host of the "
    "connection with http://.",
    "proxy": "The proxy refused the request or cannot be reached. Check the extra 'proxy' and HTTPS_PROXY.",
    "timeout": "The service did not respond in time. Check the network, or raise the extra 'timeout'.",
    "dropped": "The service closed the connection without a response. Try again, then check the host.",
    "connection": "Airflow cannot read the connection. Check its secrets backend.",
    "url": f"The host of the connection is not a valid address. Write it like {DEFAULT_BASE_URL}.",
}


def explain(error: Exception, *, conn_id: str) -> str:
    """Return what the error of a test call means and what to do about it."""
    return f"{_advice(error, conn_id)} ({error})"


def _advice(error: Exception, conn_id: str) -> str:
    match error:
        case AtaiConfigurationError():
            return "The connection is not usable."
        case AtaiAuthenticationError():
            return (
                "The service does not know this API key. A key belongs to one environment: check that the "
                "connection's key and host belong to the same one."
            )
        case AtaiPermissionError():
            return "The API key is valid but may not list fine-tune jobs. Ask for the permission."
        case AtaiNotFoundError() | AtaiGatewayNotFoundError():
            return (
                "The host responds, but there is no fine-tune API at this address. Check the path in the "
                "host, such as /v0.5."
            )
        case AtaiResponseError() | AtaiGatewayRefusalError():
            return "The server at this address is not the API. Check the host of the connection."
        case AtaiRateLimitError():
            return "The service receives too many requests at the moment. Try again later."
        case AtaiServerError():
            return "The service is out of order at the moment. Try again later."
        case AtaiApiError():
            return "The service refuses the request."
        case AtaiConnectionError():
            return _ADVICE_BY_REASON.get(error.reason, "The service cannot be reached. Check the network.")
        case _:
            return f"Connection {conn_id!r} cannot be read."
