"""
Everything that can go wrong with the Archetype AI API or with a job, as one tree of exceptions.

None of these derives from ``AirflowException``: a deferred sensor with ``soft_fail=True`` would turn
such an error into a skipped task, and a failed training job must never look like a skip
(apache/airflow#71255).

Two mixins say what a retry of the Airflow task can do, so that a DAG author's retry policy can tell
the cases apart without reading messages: :class:`RetryableError` and :class:`PermanentError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class AtaiError(Exception):
    """Base of every error that this provider raises about the service or a job."""


class RetryableError(AtaiError):
    """The same request may succeed later: an outage, a rate limit, an answer that made no sense."""


class PermanentError(AtaiError):
    """The same request can never succeed: somebody has to change the request, the key or the connection."""


class AtaiConfigurationError(PermanentError):
    """The Airflow connection cannot be used as it is; the message says which field to change and how."""


@dataclass(frozen=True)
class ErrorDetail:
    """
    One entry of an error body, whatever its shape was.

    :param code: the service's own code, such as ``invalid_file_type`` or ``NOT_FOUND``; None when absent.
    :param message: what the service says, never empty.
    :param suggestion: what the service advises; None when absent.
    :param error_uid: ``err-<uuid>``, to be quoted to Archetype AI's support; None when absent.
    """

    message: str
    code: str | None = None
    suggestion: str | None = None
    error_uid: str | None = None

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}" if self.code else self.message
        if self.suggestion:
            text += f" Suggestion: {self.suggestion}"
        if self.error_uid:
            text += f" [{self.error_uid}]"
        return text


class AtaiConnectionError(RetryableError):
    """
    No HTTP answer came, or not all of it.

    :param message: what happened, without secrets.
    :param reason: ``dns``, ``refused``, ``tls``, ``proxy``, ``timeout``, ``dropped``, ``url`` (the address
        is not one), ``connection`` (Airflow could not read its own) or ``network`` (anything else).
    """

    def __init__(self, message: str, *, reason: str = "network") -> None:
        self.reason = reason
        super().__init__(message)


class AtaiTimeoutError(AtaiConnectionError):
    """The service did not answer, or not completely, in the time that the connection allows."""

    def __init__(self, message: str, *, reason: str = "timeout") -> None:
        super().__init__(message, reason=reason)


class AtaiResponseError(RetryableError):
    """
    The service answered 2xx (or redirected) with something that the API does not document.

    It says nothing about the job: "could not look" is never "not there".
    """


class AtaiApiError(AtaiError):
    """
    The service answered with an HTTP error.

    :param status_code: the HTTP status.
    :param method: the HTTP method of the request.
    :param path: the path of the request, without host and query.
    :param details: the entries of the error body; empty when the body said nothing readable.
    :param retry_after: seconds, from the answer's ``Retry-After`` or ``details.retry_after``; else None.
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
        said = "; ".join(str(detail) for detail in self.details) or "the answer gave no reason"
        super().__init__(f"{method} {path} was answered with HTTP {status_code}: {said}")

    @property
    def codes(self) -> frozenset[str]:
        """The service's codes of this error, lower case."""
        return frozenset(detail.code.lower() for detail in self.details if detail.code)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders by pickle, which would call __init__ with the message alone.
        state = {
            "status_code": self.status_code,
            "method": self.method,
            "path": self.path,
            "details": self.details,
            "retry_after": self.retry_after,
        }
        return (_rebuild_api_error, (type(self), state))


class AtaiBadRequestError(AtaiApiError, PermanentError):
    """400, 413, 422 and other 4xx: the service refuses this request as it is."""


class AtaiAuthenticationError(AtaiApiError, PermanentError):
    """401: the API key is missing, wrong, or belongs to another environment."""


class AtaiPermissionError(AtaiApiError, PermanentError):
    """403: the API key is known but may not do this."""


class AtaiNotFoundError(AtaiApiError, PermanentError):
    """404: there is no such job, file or upload."""


class AtaiGatewayNotFoundError(AtaiApiError, RetryableError):
    """
    404 with a body that is no JSON, as the API's are: something before the service, or a wrong base URL.

    It says nothing about the job or file that was asked for.
    """


class AtaiConflictError(AtaiApiError, PermanentError):
    """409: the thing is in a state that forbids this, such as an id that is taken or a job that is over."""


class AtaiRateLimitError(AtaiApiError, RetryableError):
    """429: too many requests; ``retry_after`` says how long to wait when the service told."""


class AtaiServerError(AtaiApiError, RetryableError):
    """5xx: the service or something before it is out of order."""


class FineTuneJobError(AtaiError):
    """
    A fine-tune job is over, or waited for long enough, and there is no model to go on with.

    :param message: what happened, whether the job still runs, and what a retry will do.
    :param job_id: the job's id.
    :param status: the job's last known status.
    """

    def __init__(self, message: str, *, job_id: str, status: str) -> None:
        self.job_id = job_id
        self.status = status
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_job_error, (type(self), str(self), self.job_id, self.status))


class FineTuneJobFailedError(FineTuneJobError):
    """The job ended FAILED. The API gives no reason: the job record has no field for one."""


class FineTuneJobCancelledError(FineTuneJobError):
    """The job ended CANCELLED: somebody or something cancelled it, nothing was finalised."""


class FineTuneJobStoppedError(FineTuneJobError):
    """The job ended STOPPED: its latest checkpoint is kept, but it did not train to the end."""


class FineTuneJobTimeoutError(FineTuneJobError):
    """The job was not over at the deadline that the task gave it."""


class FineTuneJobNoModelError(FineTuneJobError, RetryableError):
    """The job is COMPLETED, but the service names no inference config: there is no sign of a model."""


class FineTuneJobUnreachableError(FineTuneJobError, RetryableError):
    """The job could not be read for longer than the outage tolerance. It may still run."""


class FineTuneJobRefusedError(FineTuneJobError, PermanentError):
    """The service refuses to show the job: wrong key, missing permission, or a request it does not take."""


class FineTuneJobNotFoundError(FineTuneJobError, PermanentError):
    """The service knows no such job."""


def _rebuild_api_error(cls: type[AtaiApiError], state: dict[str, Any]) -> AtaiApiError:
    return cls(**state)


def _rebuild_job_error(
    cls: type[FineTuneJobError], message: str, job_id: str, status: str
) -> FineTuneJobError:
    return cls(message, job_id=job_id, status=status)


def error_class(status_code: int, *, is_api_answer: bool = True) -> type[AtaiApiError]:
    """
    Return the exception class for an HTTP error status.

    :param is_api_answer: whether the body was JSON.
    """
    if status_code >= 500:
        return AtaiServerError
    if status_code == 404 and not is_api_answer:
        return AtaiGatewayNotFoundError
    return _CLASS_BY_STATUS.get(status_code, AtaiBadRequestError)


_CLASS_BY_STATUS: Mapping[int, type[AtaiApiError]] = {
    401: AtaiAuthenticationError,
    403: AtaiPermissionError,
    404: AtaiNotFoundError,
    408: AtaiServerError,
    409: AtaiConflictError,
    429: AtaiRateLimitError,
}
