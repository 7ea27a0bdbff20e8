"""The fine-tune API of v0.5: what a job is, and the calls on jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.job_request import build_request, check_job_id, check_request
from airflow_provider_atai.errors import AtaiResponseError

if TYPE_CHECKING:
    from pendulum import DateTime

    from airflow_provider_atai.api.client import AtaiClient

__all__ = [
    "ACTIVE_STATUSES",
    "ENDED_WITHOUT_MODEL",
    "TERMINAL_STATUSES",
    "FineTuneApi",
    "FineTuneJob",
    "JobMetrics",
    "JobStatus",
    "build_request",
    "check_job_id",
    "check_request",
]

log = logging.getLogger(__name__)

_JOBS = ("fine-tune", "jobs")


class JobStatus(StrEnum):
    """The statuses that the API documents. A job may still show one that is not listed here."""

    UNKNOWN = "UNKNOWN"
    REGISTERED = "REGISTERED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FINALIZING = "FINALIZING"
    COMPLETED = "COMPLETED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


TERMINAL_STATUSES = frozenset({"COMPLETED", "STOPPED", "CANCELLED", "FAILED"})
ENDED_WITHOUT_MODEL = TERMINAL_STATUSES - {"COMPLETED"}
ACTIVE_STATUSES = tuple(status.value for status in JobStatus if status.value not in TERMINAL_STATUSES)


@dataclass(frozen=True)
class FineTuneJob:
    """
    A job as the service describes it.

    :param id: the id that every call takes; client-chosen or made by the service.
    :param name: not unique.
    :param status: as sent, kept when it is none of :class:`JobStatus`.
    :param config: model and datasets as the service resolved them; they need not equal the request's.
    :param uuid: the service's own id.
    :param org_uuid: the organisation that owns the job.
    :param created_at: UTC; None when it is absent or unreadable.
    :param updated_at: likewise.
    :param inference_config_path: where the trained model's inference config is; None until there is one.
    :param extra: fields that are not known here, and known ones whose value could not be used.
    """

    id: str
    name: str
    status: str
    config: Mapping[str, Any] = field(default_factory=dict)
    uuid: str | None = None
    org_uuid: str | None = None
    created_at: DateTime | None = None
    updated_at: DateTime | None = None
    inference_config_path: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_terminal(self) -> bool:
        """Whether the job is over. A status that is not documented counts as not over."""
        return self.status in TERMINAL_STATUSES

    @classmethod
    def from_record(cls, record: object) -> FineTuneJob:
        """
        Read a job record.

        :param record: decoded JSON.
        :raises AtaiResponseError: it is no object, or has no id or status: nothing is known about the job.
        """
        if not isinstance(record, Mapping):
            raise AtaiResponseError(
                f"The service sent {_kind(record)} where a job record belongs; the job's state is not known."
            )
        for key in ("id", "status"):
            # What cannot be printed, such as half a character, is no id that a later request could name.
            value = record.get(key)
            if not isinstance(value, str) or not value.strip() or not value.isprintable():
                raise AtaiResponseError(
                    f"The service sent a job record whose {key} is {_kind(record.get(key))}; "
                    "the job's state is not known."
                )
        extra = dict(record)

        def text(key: str) -> str | None:
            value = extra.get(key)
            if isinstance(value, str) and value:
                del extra[key]
                return value
            if value is None:
                extra.pop(key, None)
            return None

        def moment(key: str) -> DateTime | None:
            parsed = parse_timestamp(extra.get(key))
            if parsed is not None or extra.get(key) is None:
                extra.pop(key, None)
            return parsed

        config = extra.get("config")
        if isinstance(config, Mapping):
            del extra["config"]
        else:
            config = {}
        return cls(
            id=extra.pop("id"),
            name=text("name") or "",
            status=extra.pop("status"),
            config=config,
            uuid=text("uuid"),
            org_uuid=text("org_uuid"),
            created_at=moment("created_at"),
            updated_at=moment("updated_at"),
            inference_config_path=text("inference_config_path"),
            extra=extra,
        )


@dataclass(frozen=True)
class JobMetrics:
    """
    What a job has reported so far.

    :param last_checkpoint_step: None before the first checkpoint.
    :param records: one per checkpoint step, free-form; typical keys are ``step``, ``loss``, ``eval_loss``,
        ``learning_rate`` and ``wall_time_sec``.
    """

    last_checkpoint_step: int | None
    records: tuple[Mapping[str, Any], ...]

    @classmethod
    def from_answer(cls, answer: object) -> JobMetrics:
        """
        Read the answer of the metrics call, leaving out records that are no objects.

        :raises AtaiResponseError: the answer is no object.
        """
        if not isinstance(answer, Mapping):
            raise AtaiResponseError(f"The service sent {_kind(answer)} where a job's metrics belong.")
        step = answer.get("last_checkpoint_step")
        if isinstance(step, float) and step.is_integer():
            step = int(step)
        records = answer.get("metrics")
        return cls(
            last_checkpoint_step=step if isinstance(step, int) and not isinstance(step, bool) else None,
            records=tuple(record for record in records if isinstance(record, Mapping))
            if isinstance(records, list)
            else (),
        )


class FineTuneApi:
    """The job calls. Each raises what :meth:`AtaiClient.request` raises, and what is said below."""

    def __init__(self, client: AtaiClient) -> None:
        self._client = client

    def create(
        self,
        *,
        name: str,
        datasets: Sequence[Mapping[str, Any]],
        model: str | None = None,
        job_id: str | None = None,
    ) -> FineTuneJob:
        """
        Create a job. Never repeated here: only a caller that looked for the job may send this again.

        The id in the answer is the job's, whatever was asked for.

        :raises AtaiResponseError: the request was accepted, but the answer names no job; there may be one.
        """
        request = build_request(name=name, datasets=datasets, model=model, job_id=job_id)
        return FineTuneJob.from_record(
            self._client.request("POST", *_JOBS, json=request, safe_to_repeat=False)
        )

    def get(self, job_id: str, *, max_attempts: int | None = None) -> FineTuneJob:
        """
        Return a job.

        :raises AtaiNotFoundError: there is no such job.
        :raises AtaiResponseError: the answer is no job record, or that of another job.
        """
        return self._asked_for(job_id, self._client.request("GET", *_JOBS, job_id, max_attempts=max_attempts))

    def list(
        self, *, limit: int | None = None, offset: int | None = None, statuses: Sequence[str] = ()
    ) -> list[FineTuneJob]:
        """
        Return jobs of the organisation, in no documented order.

        Pages can shift while they are read, so that a job may be missing from all of them or be in two.
        Records that cannot be read are left out with a warning: one odd job must not hide the others.

        :param limit: the most jobs; None for all.
        :param statuses: only jobs in one of these; empty for all.
        :raises AtaiResponseError: the answer is no list, or none of its records can be read.
        """
        answer = self.list_records(limit=limit, offset=offset, statuses=statuses)
        jobs = []
        unreadable: AtaiResponseError | None = None
        for record in answer:
            try:
                jobs.append(FineTuneJob.from_record(record))
            except AtaiResponseError as error:
                unreadable = error
        if unreadable is not None:
            if not jobs:
                raise unreadable
            left_out = len(answer) - len(jobs)
            log.warning("%d of %d listed jobs were left out: %s", left_out, len(answer), unreadable)
        return jobs

    def list_records(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        statuses: Sequence[str] = (),
        max_attempts: int | None = None,
    ) -> Sequence[Any]:
        """
        Return the list as the service sent it, unread, for callers that want little of much.

        The parameters are those of :meth:`list`.

        :raises AtaiResponseError: the answer is no list.
        """
        params = {"limit": limit, "offset": offset, "statuses": [*statuses] or None}
        answer = self._client.request("GET", *_JOBS, params=params, max_attempts=max_attempts)
        if not isinstance(answer, list):
            raise AtaiResponseError(f"The service sent {_kind(answer)} where a list of jobs belongs.")
        return answer

    def stop(
        self,
        job_id: str,
        *,
        timeout: float | tuple[float, float] | None = None,
        max_attempts: int | None = None,
    ) -> FineTuneJob:
        """
        Stop a job gracefully: its latest checkpoint is kept. The answer is usually STOPPING, not yet STOPPED.

        :raises AtaiConflictError: presumably the job is over already (undocumented); get it to see.
        """
        return self._end(job_id, "stop", timeout, max_attempts)

    def cancel(
        self,
        job_id: str,
        *,
        timeout: float | tuple[float, float] | None = None,
        max_attempts: int | None = None,
    ) -> FineTuneJob:
        """
        Cancel a job at once: nothing is finalised.

        :raises AtaiConflictError: presumably the job is over already (undocumented); get it to see.
        """
        return self._end(job_id, "cancel", timeout, max_attempts)

    def metrics(
        self,
        job_id: str,
        *,
        limit: int | None = None,
        offset: int | None = None,
        timeout: float | tuple[float, float] | None = None,
        max_attempts: int | None = None,
    ) -> JobMetrics:
        """Return what a job has reported so far."""
        answer = self._client.request(
            "GET",
            *_JOBS,
            job_id,
            "metrics",
            params={"limit": limit, "offset": offset},
            timeout=timeout,
            max_attempts=max_attempts,
        )
        return JobMetrics.from_answer(answer)

    def _end(
        self, job_id: str, action: str, timeout: float | tuple[float, float] | None, max_attempts: int | None
    ) -> FineTuneJob:
        answer = self._client.request(
            "PUT", *_JOBS, job_id, action, safe_to_repeat=True, timeout=timeout, max_attempts=max_attempts
        )
        return self._asked_for(job_id, answer)

    @staticmethod
    def _asked_for(job_id: str, answer: object) -> FineTuneJob:
        job = FineTuneJob.from_record(answer)
        # Whether the path also takes a job's uuid is not documented; if it does, the id differs rightly.
        if job_id not in (job.id, job.uuid):
            raise AtaiResponseError(
                f"The service was asked for job {job_id} and answered with job {job.id!r}."
            )
        return job


def parse_timestamp(value: object) -> DateTime | None:
    """Return an ISO 8601 timestamp as UTC, None when it is none. Without an offset it is taken as UTC."""
    if not isinstance(value, str):
        return None
    import pendulum

    try:
        moment = datetime.fromisoformat(value.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return pendulum.DateTime(
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond,
        tzinfo=pendulum.UTC,
    )


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"{type(value).__name__} {str(value)[:60]!r}"
