"""Instants as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def microseconds(instant: float) -> str:
    """Return a job's timestamp, such as ``2026-04-27T14:32:18.421000Z``, for seconds since 1970."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def whole_seconds(instant: float) -> str:
    """Return an upload URL's expiry, such as ``2026-04-28T15:32:18Z``, for seconds since 1970."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
