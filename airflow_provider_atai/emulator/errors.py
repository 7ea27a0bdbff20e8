"""Refusals, and every shape of error body that the service is known to send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_atai.emulator.ids import error_uid


class RefusedError(Exception):
    """
    The service refuses a request.

    :param status: the HTTP status of the answer.
    :param code: the error's code, such as ``invalid_file_type``.
    :param message: what is wrong, for the person who sent the request.
    :param suggestion: what to do instead; None leaves it out of the body.
    :param bare: leave out ``error_uid``, as the service does if a file name is taken.
    """

    def __init__(
        self, status: int, code: str, message: str, *, suggestion: str | None = None, bare: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.entry = error_entry(code, message, suggestion=suggestion, bare=bare)


def conflict(message: str) -> RefusedError:
    """Return the refusal of a request that another state or an equal name forbids."""
    return RefusedError(409, "conflict", message, bare=True)


def not_found(message: str, *, code: str = "NOT_FOUND") -> RefusedError:
    """Return the refusal of a request for something that does not exist."""
    return RefusedError(404, code, message)


def invalid(message: str, *, suggestion: str | None = None) -> RefusedError:
    """Return the refusal of a request whose form is wrong. The code is the emulator's own."""
    return RefusedError(400, "invalid_parameter", message, suggestion=suggestion)


def missing(message: str) -> RefusedError:
    """Return the refusal of a request in which something is missing."""
    return RefusedError(400, "missing_parameter", message)


def error_entry(
    code: str, message: str, *, suggestion: str | None = None, bare: bool = False
) -> dict[str, str]:
    """Return one entry of the documented envelope, keys in the documented order."""
    entry = {"code": code, "message": message}
    if suggestion is not None:
        entry["suggestion"] = suggestion
    if not bare:
        entry["error_uid"] = error_uid()
    return entry


def envelope(entries: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the documented error body."""
    return {"errors": list(entries)}


def entry_of_problem(problem: Mapping[str, Any]) -> dict[str, str]:
    """Return the envelope's entry for one element of ``RequestValidationError.errors()``."""
    if problem["type"] == "json_invalid":
        return error_entry("invalid_parameter", "The request body is not JSON")
    place = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path"))
    place = place or "the request body"
    if problem["type"] == "missing":
        return error_entry("missing_parameter", f"Missing required parameter: {place}")
    return error_entry("invalid_parameter", f"Invalid value for {place}: {problem['msg']}")


def storage_error(code: str, message: str) -> str:
    """Return an error body in the form of the object storage behind the part URLs."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'
