"""Reads the fields of an Airflow connection of type ``atai`` into the API client's settings. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_atai.api.base_url import DEFAULT_BASE_URL
from airflow_provider_atai.errors import AtaiConfigurationError

DEFAULT_CONNECT_SECONDS = 10.0
DEFAULT_READ_SECONDS = 60.0
KNOWN_EXTRAS = ("timeout", "verify", "proxy", "console_url_template")

_MOVE_THE_KEY = "Put the API key (sk_...) in the Password field."
# An API key as the service's examples write it, and a host that is one long word. Neither is ever shown.
_KEY = re.compile(r"(?<![A-Za-z0-9])sk_\w")
_LONG_WORD = re.compile(r"\w+://\w{32,}(/.*)?")


@dataclass(frozen=True)
class ClientSettings:
    """
    What :class:`~airflow_provider_atai.api.client.AtaiClient` and the hook need to know.

    :param base_url: the API's base URL as the connection or the environment has it.
    :param api_key: the API key; the repr leaves it out.
    :param timeout: seconds to connect and seconds to wait for a response.
    :param verify: whether TLS certificates are checked, or the path of a bundle of authorities.
    :param proxy: URL of an HTTP proxy, or None for the environment's.
    :param console_url_template: a job page's URL that contains ``{job_id}``, or None.
    """

    base_url: str
    api_key: str = field(repr=False)
    timeout: tuple[float, float] = (DEFAULT_CONNECT_SECONDS, DEFAULT_READ_SECONDS)
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    console_url_template: str | None = None


def client_settings(
    *,
    conn_id: str,
    host: str | None,
    port: int | None,
    schema: str | None,
    login: str | None,
    password: str | None,
    extra: Mapping[str, Any],
    environ: Mapping[str, str],
) -> ClientSettings:
    """
    Read a connection's fields. ``ATAI_API_ENDPOINT`` and ``ATAI_API_KEY`` fill in empty ones only.

    :raises AtaiConfigurationError: the key is missing or in another field, or a field is malformed. The
        message says what to write instead and never contains the key.
    """
    _check_for_misplaced_keys(conn_id, login=login, password=password, extra=extra)
    base_url = _base_url(conn_id, host, port, schema) or environ.get("ATAI_API_ENDPOINT") or DEFAULT_BASE_URL
    if _KEY.search(base_url) or _LONG_WORD.fullmatch(base_url):
        raise AtaiConfigurationError(
            f"The API base URL (host) of connection {conn_id!r} looks like an API key. {_MOVE_THE_KEY} The "
            f"host is an address such as {DEFAULT_BASE_URL}, or empty."
        )
    api_key = (password or environ.get("ATAI_API_KEY") or "").strip()
    if not api_key:
        raise AtaiConfigurationError(
            f"Connection {conn_id!r} has no API key. {_MOVE_THE_KEY} Or set ATAI_API_KEY for the workers and "
            "the triggerer."
        )
    template = _text(extra.get("console_url_template"))
    if template is not None and "{job_id}" not in template:
        raise AtaiConfigurationError(
            f"The extra console_url_template of connection {conn_id!r} must contain {{job_id}}, as in "
            "https://console.example.com/jobs/{job_id}"
        )
    return ClientSettings(
        base_url=base_url,
        api_key=api_key,
        timeout=_timeout(conn_id, extra.get("timeout")),
        verify=_verify(conn_id, extra.get("verify")),
        proxy=_text(extra.get("proxy")),
        console_url_template=template,
    )


def _check_for_misplaced_keys(
    conn_id: str, *, login: str | None, password: str | None, extra: Mapping[str, Any]
) -> None:
    unknown = sorted(set(extra) - set(KNOWN_EXTRAS))
    if unknown:
        raise AtaiConfigurationError(
            f"Connection {conn_id!r} has unknown extras: {_shown(', '.join(unknown))}. "
            f"Known extras: {', '.join(KNOWN_EXTRAS)}. {_MOVE_THE_KEY}"
        )
    if _text(login) and not _text(password):
        raise AtaiConfigurationError(
            f"Connection {conn_id!r} has something in its Login field and nothing in Password. "
            f"{_MOVE_THE_KEY}"
        )


def _base_url(conn_id: str, host: str | None, port: int | None, schema: str | None) -> str | None:
    # Airflow splits an AIRFLOW_CONN_ URI: atai://:key@host:8765/v0.5 arrives as host, port and schema.
    host = _text(host)
    if host is None:
        return None
    named = (_text(schema) or "").lower().removesuffix("://")
    if named in ("http", "https"):
        schema = None
    else:
        named = ""
    if "://" not in host:
        host = f"{named or 'https'}://{host}"
    scheme, _, rest = host.partition("://")
    if named not in ("", scheme):
        raise AtaiConfigurationError(
            f"The host of connection {conn_id!r} does not begin with its schema, {named}. Leave the schema "
            "empty."
        )
    location, slash, path = rest.partition("/")
    if port and ":" not in location.rpartition("]")[2]:
        location = f"{location}:{port}"
    if schema and not path:
        slash, path = "/", schema.strip("/")
    return f"{scheme}://{location}{slash}{path}"


def _timeout(conn_id: str, value: Any) -> tuple[float, float]:
    if value in (None, ""):
        return DEFAULT_CONNECT_SECONDS, DEFAULT_READ_SECONDS
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    # This also refuses nan, which compares false with everything.
    if not 0 < seconds <= 3600:
        raise AtaiConfigurationError(
            f"The extra timeout of connection {conn_id!r} must be a number of seconds above 0, not "
            f"{_shown(repr(value))}."
        )
    return min(DEFAULT_CONNECT_SECONDS, seconds), seconds


def _verify(conn_id: str, value: Any) -> bool | str:
    if value in (None, ""):
        return True
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.strip()
        return {"true": True, "false": False}.get(text.lower(), text)
    raise AtaiConfigurationError(
        f"The extra verify of connection {conn_id!r} must be true, false or the path of a CA bundle, "
        f"not {_shown(repr(value))}."
    )


def _shown(text: str) -> str:
    return "***" if _KEY.search(text) else text


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None
