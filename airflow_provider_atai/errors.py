"""
Every exception that a DAG author can meet.

::

    AtaiError
      * AtaiConfigurationError            permanent
          * AtaiConnectionMissingError    permanent
      * AtaiConnectionError               retryable
          * AtaiTimeoutError              retryable
      * AtaiResponseError                 retryable
      * UnsendableRequestError            permanent
      * AtaiApiError
          * AtaiBadRequestError           permanent
          * AtaiAuthenticationError       permanent
          * AtaiPermissionError           permanent
          * AtaiNotFoundError             permanent
          * AtaiGatewayNotFoundError      retryable
          * AtaiGatewayRefusalError       retryable
          * AtaiConflictError             permanent
          * AtaiRateLimitError            retryable
          * AtaiServerError               retryable
      * DatasetFileError                  permanent
      * SourceChangedError                permanent
      * SourceUnreadableError             retryable
      * UploadGoneError                   retryable
      * FileNameTakenError                permanent
      * FileNotReadyError                 retryable
      * GenerationsExhaustedError         permanent
      * JobIdTakenError                   permanent
      * JobUnclearError                   retryable
      * TaskKilledError                   retryable
      * FineTuneJobError
          * FineTuneJobFailedError        retryable
          * FineTuneJobCancelledError     retryable
          * FineTuneJobStoppedError       retryable
          * FineTuneJobTimeoutError       permanent
          * FineTuneJobNoModelError       retryable
          * FineTuneJobUnreachableError   retryable
          * FineTuneJobRefusedError       permanent
          * FineTuneJobNotFoundError      permanent

Retryable errors derive from :class:`RetryableError` as well and permanent ones from :class:`PermanentError`,
so that a retry policy can tell them apart without reading messages.

None of them derives from ``AirflowException``. With ``soft_fail=True`` a deferred sensor turns such an error
into a skipped task, and a failed training job must never look like a skip (apache/airflow#71255).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any


class AtaiError(Exception):
    """Base of every error that this provider raises about the service, a file or a job."""


class RetryableError(AtaiError):
    """A retry of the task can help: it repeats the request, resumes the upload, or makes another job."""


class PermanentError(AtaiError):
    """A retry of the task cannot help: the DAG, the data, the key or the connection must change."""


class AtaiConfigurationError(PermanentError):
    """The Airflow connection is unusable; the message says which field to change and how."""


class AtaiConnectionMissingError(AtaiConfigurationError):
    """Airflow says that it has no connection with the id that the task names."""


@dataclass(frozen=True)
class ErrorDetail:
    """
    One entry of an error body.

    :param message: what the service says, never empty.
    :param code: the service's own code, such as ``invalid_file_type`` or ``NOT_FOUND``; None if absent.
    :param suggestion: what the service advises; None if absent.
    :param error_uid: ``err-<uuid>``, to be quoted to Archetype AI's support; None if absent.
    """

    message: str
    code: str | None = None
    suggestion: str | None = None
    error_uid: str | None = None

    def __str__(self) -> str:
        code = f"{self.code}: " if self.code else ""
        suggestion = f" Suggestion: {self.suggestion}" if self.suggestion else ""
        error_uid = f" [{self.error_uid}]" if self.error_uid else ""
        return f"{code}{self.message}{suggestion}{error_uid}"


class AtaiConnectionError(RetryableError):
    """
    No response arrived, or only a part of one.

    :param message: what happened, without secrets.
    :param reason: ``dns``, ``refused``, ``tls``, ``http`` (the server does not speak https), ``proxy``,
        ``timeout``, ``dropped``, ``url`` (not a valid address), ``connection`` (Airflow could not read its
        own connection) or ``network`` (anything else).
    """

    def __init__(self, message: str, *, reason: str = "network") -> None:
        self.reason = reason
        super().__init__(message)


class AtaiTimeoutError(AtaiConnectionError):
    """The service did not respond completely within the connection's timeout."""

    def __init__(self, message: str, *, reason: str = "timeout") -> None:
        super().__init__(message, reason=reason)


class AtaiResponseError(RetryableError):
    """A successful response or a redirect that the API does not document; it says nothing about the job."""


class UnsendableRequestError(PermanentError):
    """An id or a value, such as ``..`` or half a character, cannot be sent; nothing was."""


class AtaiApiError(AtaiError):
    """
    The service responded with an HTTP error.

    :param status_code: the HTTP status.
    :param method: the HTTP method of the request.
    :param path: the path of the request, without host and query.
    :param details: the entries of the error body; empty if the body said nothing readable.
    :param retry_after: seconds, from the header ``Retry-After`` or ``details.retry_after``; else None.
    """

    def __init__(
        self,
        *,
        status_code: int,
        method: str,
        path: str,
        details: Sequence[ErrorDetail] = (),
        retry_after: float | None = None,
    ) -> None:
        self.status_code = status_code
        self.method = method
        self.path = path
        self.details = tuple(details)
        self.retry_after = retry_after
        said = "; ".join(str(detail) for detail in self.details) or "the response gave no reason"
        super().__init__(f"{method} {path} was answered with HTTP {status_code}: {said}")

    @property
    def codes(self) -> frozenset[str]:
        """The service's codes for this error, in lower case."""
        return frozenset(detail.code.lower() for detail in self.details if detail.code)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders by pickle, which would call __init__ with the message alone.
        fields = ("status_code", "method", "path", "details", "retry_after")
        return partial(type(self), **{name: getattr(self, name) for name in fields}), ()


class AtaiBadRequestError(AtaiApiError, PermanentError):
    """400, 413, 422 and other 4xx: the service refuses this request."""


class AtaiAuthenticationError(AtaiApiError, PermanentError):
    """401: the API key is missing, wrong, or belongs to another environment."""


class AtaiPermissionError(AtaiApiError, PermanentError):
    """403: the API key is valid but may not do this."""


class AtaiNotFoundError(AtaiApiError, PermanentError):
    """404: there is no such job, file or upload."""


class AtaiGatewayNotFoundError(AtaiApiError, RetryableError):
    """404 without a JSON body: a gateway or a wrong base URL; it says nothing about the job or file."""


class AtaiGatewayRefusalError(AtaiApiError, RetryableError):
    """401 or 403 without a JSON body: a gateway, such as a firewall; it says nothing about the key."""


class AtaiConflictError(AtaiApiError, PermanentError):
    """409: the current state forbids this, for example the id is taken or the job has ended."""


class AtaiRateLimitError(AtaiApiError, RetryableError):
    """429: too many requests; ``retry_after`` says how long to wait if the service said so."""


class AtaiServerError(AtaiApiError, RetryableError):
    """5xx: the service or a gateway in front of it is out of order."""


class DatasetFileError(PermanentError):
    """A dataset file is missing or is not what the service takes; nothing of it was sent."""


class SourceChangedError(PermanentError):
    """The file changed after its size and hash were taken."""


class SourceUnreadableError(RetryableError):
    """The file could not be read."""


class UploadGoneError(RetryableError):
    """Another caller finished the same upload, or aborted it, while it was sent."""


class FileNameTakenError(PermanentError):
    """The service has another file with this name, and an upload never overwrites one."""


class FileNotReadyError(RetryableError):
    """The service's file with this name is being deleted, or is not visible yet."""


class GenerationsExhaustedError(PermanentError):
    """Every id that the task may use belongs to a job that has ended without a model."""


class JobIdTakenError(PermanentError):
    """The id that the DAG author chose belongs to another job."""


class JobUnclearError(RetryableError):
    """The service may have created a job, and could not be asked whether it did."""


class TaskKilledError(RetryableError):
    """The task was killed while it was creating its job, so its process must not go on."""


class FineTuneJobError(AtaiError):
    """
    The wait for a fine-tune job ended, and there is no model to go on with.

    :param message: what happened, whether the job still runs, and what a retry will do.
    :param job_id: the job's id.
    :param status: the job's last known status.
    """

    def __init__(self, message: str, *, job_id: str, status: str) -> None:
        self.job_id = job_id
        self.status = status
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), job_id=self.job_id, status=self.status), (str(self),)


class FineTuneJobFailedError(FineTuneJobError, RetryableError):
    """The job ended FAILED; the API gives no reason. A retry of the task that owns it makes another job."""


class FineTuneJobCancelledError(FineTuneJobError, RetryableError):
    """The job ended CANCELLED and kept nothing. A retry of the task that owns it makes another job."""


class FineTuneJobStoppedError(FineTuneJobError, RetryableError):
    """The job ended STOPPED; the message says what it left. A retry of its owner makes another job."""


class FineTuneJobTimeoutError(FineTuneJobError, PermanentError):
    """The job was still active at the task's deadline. A retry would find the same deadline passed."""


class FineTuneJobNoModelError(FineTuneJobError, RetryableError):
    """The job is COMPLETED, but the service names no inference config: there is no sign of a model."""


class FineTuneJobUnreachableError(FineTuneJobError, RetryableError):
    """The job could not be read for too long, or the wait for it broke off. It may still run."""


class FineTuneJobRefusedError(FineTuneJobError, PermanentError):
    """The service refuses to show the job: wrong key, missing permission, or a malformed request."""


class FineTuneJobNotFoundError(FineTuneJobError, PermanentError):
    """The service knows no such job."""


def error_class(status_code: int, *, is_api_answer: bool = True) -> type[AtaiApiError]:
    """Return the class for an HTTP error status; ``is_api_answer`` says whether the body was JSON."""
    if status_code in _GATEWAY_CLASS_BY_STATUS and not is_api_answer:
        return _GATEWAY_CLASS_BY_STATUS[status_code]
    return _CLASS_BY_STATUS.get(status_code, AtaiServerError if status_code >= 500 else AtaiBadRequestError)


# Each documented error body of the API is JSON.
_GATEWAY_CLASS_BY_STATUS: Mapping[int, type[AtaiApiError]] = {
    401: AtaiGatewayRefusalError,
    403: AtaiGatewayRefusalError,
    404: AtaiGatewayNotFoundError,
}
_CLASS_BY_STATUS: Mapping[int, type[AtaiApiError]] = {
    401: AtaiAuthenticationError,
    403: AtaiPermissionError,
    404: AtaiNotFoundError,
    408: AtaiServerError,
    409: AtaiConflictError,
    429: AtaiRateLimitError,
}
