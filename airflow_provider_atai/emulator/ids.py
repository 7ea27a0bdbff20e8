"""Ids in the same forms as the service's own ids."""

from __future__ import annotations

import re
import uuid

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS = 26
MAX_JOB_ID_LENGTH = 64


def type_id(prefix: str) -> str:
    """Return ``<prefix>_<26 digits>``: a random UUID version 4 as one number in Crockford's base 32."""
    number = uuid.uuid4().int
    digits = []
    for _ in range(_DIGITS):
        number, digit = divmod(number, 32)
        digits.append(_CROCKFORD[digit])
    return f"{prefix}_{''.join(reversed(digits))}"


def server_job_id(name: str) -> str:
    """Return an id for a job that has none: ``ft-job-<name>-<8 hex>``, at most 64 characters."""
    tail = uuid.uuid4().hex[:8]
    # Characters that a path would have to quote become hyphens.
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "job"
    room = MAX_JOB_ID_LENGTH - len("ft-job--") - len(tail)
    return f"ft-job-{slug[:room]}-{tail}"


def error_uid() -> str:
    """Return ``err-<uuid>``, the form of the ids in error bodies."""
    return f"err-{uuid.uuid4()}"
