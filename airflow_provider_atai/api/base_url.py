"""Where the API is: one spelling for every way in which people write its address."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

DEFAULT_BASE_URL = "https://api.u1.archetypeai.app/v0.5"
DEFAULT_PREFIX = "/v0.5"


def is_address(url: str) -> bool:
    """Tell whether a URL that the service sent names a host that can be asked."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def normalise_base_url(url: str) -> str:
    """
    Return the base URL of the API without a trailing slash.

    The tools of Archetype AI write their endpoint with a version (``/v0.5``), with ``/api``, or as a bare
    root. A bare root gets ``/v0.5``; a path is kept as it is.

    :param url: for example ``https://api.u1.archetypeai.app`` or ``http://127.0.0.1:8765/v0.5/``.
    :raises ValueError: the URL has no ``http`` or ``https`` scheme, no host, a bad port, user info, a query
        or a fragment.
    """
    text = url.strip()
    example = f"write it as {DEFAULT_BASE_URL}"
    if not all(character.isprintable() and character != " " for character in text):
        raise ValueError(f"The API base URL holds a space or a control character; {example}.")
    try:
        parts = urlsplit(text)
        host, has_port = parts.hostname, parts.port is not None
    except ValueError as exc:
        raise ValueError(f"The API base URL cannot be read ({exc}); {example}.") from None
    if "@" in parts.netloc:
        # The URL itself is left out of the message: the user info may be the key.
        raise ValueError(
            "The API base URL holds user info (user:password@); the key belongs in the password field."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"The API base URL {text!r} is no http:// or https:// address; {example}.")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError(f"The API base URL {text!r} has a query or a fragment; {example}.")
    if parts.netloc.endswith(":") and not has_port:
        raise ValueError(f"The API base URL {text!r} has a colon without a port; {example}.")
    path = parts.path.rstrip("/") or DEFAULT_PREFIX
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
