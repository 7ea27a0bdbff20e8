"""How a wait ended, in a form that travels from the triggerer to the worker, and as an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_atai.api.printable import printable
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
    Ending.BROKEN: FineTuneJobUnreachableError,
    Ending.REFUSED: FineTuneJobRefusedError,
    Ending.NOT_FOUND: FineTuneJobNotFoundError,
}
_WHAT_HAPPENED = {
    Ending.STOPPED: "{job} was stopped before its training was complete. It no longer runs or bills. {kept}",
    Ending.CANCELLED: "{job} was cancelled. It no longer runs or bills, and it left nothing to use.",
    Ending.FAILED: "{job} FAILED. It no longer runs. The job's record does not say why.",
    Ending.NO_MODEL: "{job} is COMPLETED, but the service names no inference config for it, so nothing shows "
    "that a model exists. It no longer runs or bills.",
    Ending.TIMED_OUT: "{job} had not finished at its deadline. {known}.",
    Ending.UNREACHABLE: "{job} could not be read for longer than the outage tolerance ({reason}). {known}; "
    "it may still run and bill.",
    Ending.BROKEN: "{job} is in an unknown state, since the wait for it broke off ({reason}). It may still "
    "run and bill.",
    Ending.REFUSED: "{job} cannot be read: the service refuses to show it ({reason}). {known}; it may "
    "still run and bill.",
    Ending.NOT_FOUND: "{job} is not known to the service ({reason}). Check the job id, and that the "
    "connection's key belongs to the job's organisation and environment.",
}


_KEPT = {
    True: "Its latest checkpoint is kept. Pass accept_stopped=True to use that checkpoint.",
    False: "It left nothing to use: its metrics name no checkpoint, and it has no inference config.",
    None: "Its metrics could not be read, so it is unclear whether it has a checkpoint.",
}
_LONGEST_REASON = 2000
_UNREAD_AT_DEADLINE = "{job} could not be read at its deadline ({reason}). {known}."


@dataclass(frozen=True)
class WaitResult:
    """
    The end of a wait.

    :param ending: how the wait ended.
    :param job_id: the job that was waited for.
    :param status: its last known status, None if it was never read.
    :param reason: the last error's text, None unless an error ended the wait.
    :param summary: what :func:`~airflow_provider_atai.waiting.summary.summarise` returned for the job, None
        unless the last poll showed it.
    :param has_checkpoint: whether a STOPPED job has a checkpoint, None if that is unclear.
    :param history: what the wait has seen of the job, as
        :meth:`~airflow_provider_atai.waiting.history.JobHistory.to_json` returns it. It decides nothing.
    """

    ending: Ending
    job_id: str
    status: str | None = None
    reason: str | None = None
    summary: dict[str, Any] | None = None
    has_checkpoint: bool | None = None
    history: dict[str, Any] | None = field(default=None, compare=False)

    def to_event(self) -> dict[str, Any]:
        """Return the payload of the trigger's event: JSON types only."""
        return {**vars(self), "ending": self.ending.value}

    @classmethod
    def from_event(
        cls, event: Any, *, job_id: str | None, retry: str = "A retry polls the same job again."
    ) -> WaitResult:
        """
        Read a trigger's event back.

        :param event: the payload.
        :param job_id: the job that the task deferred for, None if that is not known.
        :param retry: what a retry of the task does, for the message.
        :raises AtaiResponseError: the event is not one of ours. Whatever it is, it is not a success.
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
                has_checkpoint=_bool(event.get("has_checkpoint")),
                history=event.get("history"),
            )
            if job_id is not None and result.job_id != job_id:
                raise ValueError(f"it is about job {result.job_id!r}")
            if result.ending in (Ending.COMPLETED, Ending.STOPPED) and not isinstance(result.summary, dict):
                raise ValueError("it has no summary")
        except (KeyError, TypeError, ValueError) as error:
            raise AtaiResponseError(
                f"The trigger's event for job {job_id or '(unknown)'} cannot be read ({error}). The job may "
                f"still run and bill. {retry}"
            ) from error
        return result

    def is_green(self, *, accept_stopped: bool) -> bool:
        """Return whether the task succeeds. A STOPPED job needs a checkpoint for that."""
        if self.ending is Ending.STOPPED:
            return accept_stopped and self.has_checkpoint is True
        return self.ending is Ending.COMPLETED

    def can_still_change(self, *, accept_stopped: bool) -> bool:
        """Return whether another look at the same job can end differently."""
        if self.ending is Ending.STOPPED:
            return accept_stopped and self.has_checkpoint is None
        return self.ending in (Ending.UNREACHABLE, Ending.BROKEN, Ending.NO_MODEL)

    def error(self, what_a_retry_does: str) -> FineTuneJobError:
        """
        Return the error for a result that is not green.

        :param what_a_retry_does: a sentence. It differs between the task that owns the job and a sensor.
        """
        status = printable(self.status or "never read")
        is_unread = self.ending is Ending.TIMED_OUT and self.reason is not None
        what_happened = (_UNREAD_AT_DEADLINE if is_unread else _WHAT_HAPPENED[self.ending]).format(
            job=f"Fine-tune job {self.job_id}",
            known=f"Its last known status is {status}",
            reason=printable(self.reason, _LONGEST_REASON),
            kept=_KEPT[self.has_checkpoint],
        )
        return _ERRORS[self.ending](f"{what_happened} {what_a_retry_does}", job_id=self.job_id, status=status)


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
