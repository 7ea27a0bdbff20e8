"""URLs: the API's base URL in one spelling, and the checks of every other URL."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit, urlunsplit

DEFAULT_BASE_URL = "https://api.u1.archetypeai.app/v0.5"
_DEFAULT_PATH = "/v0.5"
_PORTS = {"http": 80, "https": 443}


def normalise_base_url(url: str) -> str:
    """
    Return the API's base URL without a trailing slash.

    Archetype AI's tools write their endpoint with a version (``/v0.5``), with ``/api``, or as a bare root.
    A bare root gets ``/v0.5``; a path is kept.

    :param url: for example ``https://api.u1.archetypeai.app`` or ``http://127.0.0.1:8765/v0.5/``.
    :raises ValueError: the URL has no ``http`` or ``https`` scheme, no host, a bad port, user info, a query
        or a fragment.
    """
    text = url.strip()
    example = f"write it as {DEFAULT_BASE_URL}"
    if not all(character.isprintable() and character != " " for character in text):
        raise ValueError(f"The API base URL contains a space or a control character; {example}.")
    try:
        parts = urlsplit(text)
        host, has_port = parts.hostname, parts.port is not None
    except ValueError as exc:
        raise ValueError(f"The API base URL cannot be read ({exc}); {example}.") from None
    if "@" in parts.netloc:
        # The message leaves the URL out: the user info may be the key.
        raise ValueError(
            "The API base URL contains user info (user:password@). Put the API key in the Password field."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"The API base URL {text!r} is not an http:// or https:// address; {example}.")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        # The message leaves the URL out here too: people put keys into queries.
        raise ValueError(f"The API base URL has a query or a fragment; {example}.")
    if parts.netloc.endswith(":") and not has_port:
        raise ValueError(f"The API base URL {text!r} has a colon without a port; {example}.")
    path = parts.path.rstrip("/") or _DEFAULT_PATH
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def is_address(url: str) -> bool:
    """Tell whether a URL that the service sent can be shown, and names a host that can be contacted."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and url.isprintable()
        return is_web and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def origin_of(url: str) -> tuple[str, str | None, int]:
    """Return the scheme, host and port of a URL; the API key never leaves them."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def redirect_target(url: str, location: str | None) -> str:
    """Return the address in a ``Location`` header, resolved against the URL; empty if it is malformed."""
    try:
        return urljoin(url, location or "")
    except ValueError:
        return ""


def is_usable_id(value: object) -> bool:
    """Tell whether an id that the service sent can be shown, and addresses something in a URL path."""
    return isinstance(value, str) and value.isprintable() and value.strip() not in ("", ".", "..")


def path_segment(value: str) -> str:
    """
    Return an id quoted for a URL path.

    :raises UnsendableRequestError: it would address something else, or nothing.
    """
    # Every Airflow process imports this module, and only a running task needs the error.
    from airflow_provider_atai.errors import UnsendableRequestError

    refused = UnsendableRequestError(
        f"{value!r} cannot be the id of a job, file or upload; nothing was sent."
    )
    if value in ("", ".", ".."):
        raise refused
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise refused from None
