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
    :param message: what is wrong, for the person who sent it.
    :param suggestion: what to do instead; None leaves it out of the body.
    :param bare: leave out ``error_uid``, as the service does for the conflict of a file name.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        suggestion: str | None = None,
        bare: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.suggestion = suggestion
        self.bare = bare

    def entry(self) -> dict[str, str]:
        """Return the entry of the documented envelope."""
        return error_entry(self.code, self.message, suggestion=self.suggestion, bare=self.bare)


def conflict(message: str) -> RefusedError:
    """Return the refusal of something that another state or an equal name forbids."""
    return RefusedError(409, "conflict", message, bare=True)


def not_found(message: str, *, code: str = "NOT_FOUND") -> RefusedError:
    """Return the refusal of a request for something that does not exist."""
    return RefusedError(404, code, message)


def invalid(message: str, *, suggestion: str | None = None) -> RefusedError:
    """Return the refusal of a request whose form is wrong. Its code is the emulator's own."""
    return RefusedError(400, "invalid_parameter", message, suggestion=suggestion)


def missing(message: str) -> RefusedError:
    """Return the refusal of a request that lacks something."""
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


def entries_of_validation(problems: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """
    Return the envelope's entries for what FastAPI found wrong with a request.

    :param problems: what ``RequestValidationError.errors()`` returns.
    """
    return [_entry_of_problem(problem) for problem in problems]


def _entry_of_problem(problem: Mapping[str, Any]) -> dict[str, str]:
    if problem["type"] == "json_invalid":
        return error_entry("invalid_parameter", "The request body is not JSON")
    where = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path"))
    where = where or "the request body"
    if problem["type"] == "missing":
        return error_entry("missing_parameter", f"Missing required parameter: {where}")
    return error_entry("invalid_parameter", f"Invalid value for {where}: {problem['msg']}")
