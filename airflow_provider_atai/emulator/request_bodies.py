"""What the JSON bodies of the API have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from airflow_provider_atai.emulator.errors import invalid
from airflow_provider_atai.emulator.settings import Switches


class RequestBody(BaseModel):
    """A body, or an object within one: types are not converted, and unknown fields are noticed."""

    model_config = ConfigDict(strict=True, extra="allow")


def refuse_unknown_fields(switches: Switches, *objects: RequestBody) -> None:
    """
    Refuse fields that no document names, where the switches say so.

    :raises RefusedError: 400.
    """
    extra = sorted({name for each in objects for name in each.model_extra or ()})
    if extra and switches.extra_fields == "refused":
        raise invalid(f"Unknown fields: {', '.join(extra)}")
