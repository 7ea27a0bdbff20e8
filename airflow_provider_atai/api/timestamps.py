"""Reads the service's timestamps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pendulum import DateTime


def parse_timestamp(value: object) -> DateTime | None:
    """Return an ISO 8601 timestamp in UTC, None if it is not one. Without an offset it is taken as UTC."""
    if not isinstance(value, str):
        return None
    # Imported here, since parsing a DAG file needs no timestamp.
    import pendulum

    try:
        moment = datetime.fromisoformat(value.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return pendulum.instance(moment, tz=pendulum.UTC)
