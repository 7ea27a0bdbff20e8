"""How a wait ended, in a form that travels from the triggerer to the worker, and the error it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_atai.errors import (
    AtaiResponseError,
    FineTuneJobCancelledError,
    FineTuneJobError,
    FineTuneJobFailedError,
    FineTuneJobNoModelError,
    FineTuneJobNotFoundError,
    FineTuneJobRefusedError,
    FineTuneJobStoppedError,
    FineTuneJobTimeoutError,
    FineTuneJobUnreachableError,
)
from airflow_provider_atai.waiting.policy import Ending

_ERRORS: dict[Ending, type[FineTuneJobError]] = {
    Ending.STOPPED: FineTuneJobStoppedError,
    Ending.CANCELLED: FineTuneJobCancelledError,
    Ending.FAILED: FineTuneJobFailedError,
    Ending.NO_MODEL: FineTuneJobNoModelError,
    Ending.TIMED_OUT: FineTuneJobTimeoutError,
    Ending.UNREACHABLE: FineTuneJobUnreachableError,
    Ending.REFUSED: FineTuneJobRefusedError,
    Ending.NOT_FOUND: FineTuneJobNotFoundError,
}


@dataclass(frozen=True)
class WaitResult:
    """
    The end of a wait.

    :param ending: which of the possible ends it was.
    :param job_id: the job that was waited for.
    :param status: its last known status, None when it was never read.
    :param reason: the last error's text where an error ended the wait.
    :param summary: the job as :func:`~airflow_provider_atai.waiting.summary.summarise` gives it, when it is
        over.
    """

    ending: Ending
    job_id: str
    status: str | None = None
    reason: str | None = None
    summary: dict[str, Any] | None = None

    def to_event(self) -> dict[str, Any]:
        """Return the payload of the trigger's event: JSON types only."""
        return {
            "ending": self.ending.value,
            "job_id": self.job_id,
            "status": self.status,
            "reason": self.reason,
            "summary": self.summary,
        }

    @classmethod
    def from_event(cls, event: Any, *, job_id: str | None) -> WaitResult:
        """
        Read a trigger's event back.

        :param event: the payload.
        :param job_id: the job that the task deferred for; None when that is not known.
        :raises AtaiResponseError: when the event is none of ours; whatever it is, it is not a success.
        """
        try:
            if not isinstance(event, Mapping):
                raise TypeError(f"it is a {type(event).__name__}")
            result = cls(
                ending=Ending(event["ending"]),
                job_id=event["job_id"],
                status=event.get("status"),
                reason=event.get("reason"),
                summary=event.get("summary"),
            )
            if job_id is not None and result.job_id != job_id:
                raise ValueError(f"it speaks of job {result.job_id!r}")
            if result.is_green(accept_stopped=True) and not isinstance(result.summary, dict):
                raise ValueError("it has no summary")
        except (KeyError, TypeError, ValueError) as error:
            raise AtaiResponseError(
                f"The trigger's event for job {job_id or '(unknown)'} cannot be read ({error}), so it is "
                "unknown how the job stands; it may still run. A retry looks at the same job again."
            ) from error
        return result

    def is_green(self, *, accept_stopped: bool) -> bool:
        """Tell whether the task succeeds."""
        return self.ending is Ending.COMPLETED or (accept_stopped and self.ending is Ending.STOPPED)

    def error(self, what_a_retry_does: str) -> FineTuneJobError:
        """
        Return the error that a result which is not green stands for.

        :param what_a_retry_does: a sentence, which differs between the task that owns the job and a sensor.
        """
        status = self.status or "never read"
        return _ERRORS[self.ending](
            f"{self._what_happened(status)} {what_a_retry_does}", job_id=self.job_id, status=status
        )

    def _what_happened(self, status: str) -> str:
        job = f"Fine-tune job {self.job_id}"
        known = f"Its last known status is {status}"
        match self.ending:
            case Ending.STOPPED:
                return (
                    f"{job} was stopped before it had trained to the end; it no longer runs or bills, and "
                    "its latest checkpoint is kept. Pass accept_stopped=True to go on with it."
                )
            case Ending.CANCELLED:
                return f"{job} was cancelled; it no longer runs or bills, and nothing of it can be used."
            case Ending.FAILED:
                return f"{job} FAILED; it no longer runs. The service gives no reason in the job's record."
            case Ending.NO_MODEL:
                return (
                    f"{job} is COMPLETED, but the service names no inference config for it, so there is no "
                    "sign of a model. It no longer runs or bills."
                )
            case Ending.TIMED_OUT:
                return f"{job} was not over at its deadline. {known}."
            case Ending.UNREACHABLE:
                return (
                    f"{job} could not be read for longer than the outage tolerance ({self.reason}). "
                    f"{known}; it may still run and bill."
                )
            case Ending.REFUSED:
                return (
                    f"The service refuses to show fine-tune job {self.job_id} ({self.reason}), also after "
                    f"the connection was read again. {known}; it may still run and bill."
                )
            case Ending.NOT_FOUND:
                return (
                    f"The service knows no fine-tune job {self.job_id} ({self.reason}). Check the job id, "
                    "and that the connection's key belongs to the organisation and environment of the job."
                )
            case Ending.COMPLETED:
                return f"{job} is COMPLETED."
