"""The files that the browser gets, and their addresses."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

WWW = Path(__file__).parent / "www"
PREFIX = "/atai"


@cache
def content_hash() -> str:
    """Return a hash of all files, which is a part of their address: no browser mixes two versions."""
    digest = hashlib.sha256()
    for path in sorted(WWW.glob("*.js")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def base_path(base_url: str) -> str:
    """Return the path that Airflow is served under, without a slash at its end; ``""`` for the root."""
    return urlsplit(base_url).path.rstrip("/")


def entry_url(base_url: str) -> str:
    """
    Return the address of the module that the UI loads.

    :param base_url: Airflow's ``[api] base_url``. Airflow up to 3.2 takes the address as it is, so it needs
        the path that Airflow is served under.
    """
    return f"{base_path(base_url)}{PREFIX}/static/{content_hash()}/page.js"
