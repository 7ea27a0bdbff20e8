"""The fine-tune API of v0.5: what a job is, and the calls on jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_atai.api.base_url import is_usable_id
from airflow_provider_atai.api.job_request import build_request
from airflow_provider_atai.api.timestamps import parse_timestamp
from airflow_provider_atai.errors import AtaiResponseError

if TYPE_CHECKING:
    from pendulum import DateTime

    from airflow_provider_atai.api.client import AtaiClient

log = logging.getLogger(__name__)

_JOBS = ("fine-tune", "jobs")


class JobStatus(StrEnum):
    """The documented statuses. A job may still have one that is not listed here."""

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
    A job as the service describes it. What is absent or unreadable is empty or None.

    :param id: the id that every call takes; chosen by the client or made by the service.
    :param name: not unique.
    :param status: as sent, even if it is not in :class:`JobStatus`.
    :param config: model and datasets as the service resolved them; they may differ from the request's.
    :param uuid: the service's own id.
    :param created_at: in UTC.
    :param updated_at: in UTC.
    :param inference_config_path: where the trained model's inference config is; None until there is one.
    """

    id: str
    name: str
    status: str
    config: Mapping[str, Any] = field(default_factory=dict)
    uuid: str | None = None
    created_at: DateTime | None = None
    updated_at: DateTime | None = None
    inference_config_path: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended. An undocumented status counts as active."""
        return self.status in TERMINAL_STATUSES

    def has_checkpoint(self, metrics: JobMetrics | None) -> bool | None:
        """
        Tell whether the job has something to go on with, None if that is unclear.

        The documents say that a stopped job keeps its latest checkpoint, not that it has one. Only an
        inference config and the metrics, which have one record per checkpoint, can show that.

        :param metrics: None if they could not be read.
        """
        if self.inference_config_path is not None:
            return True
        return None if metrics is None else metrics.name_a_checkpoint

    @classmethod
    def from_record(cls, record: object) -> FineTuneJob:
        """
        Read a job record.

        :param record: decoded JSON.
        :raises AtaiResponseError: it is not an object or lacks an id or status: the job's state is unknown.
        """
        if not isinstance(record, Mapping):
            raise AtaiResponseError(
                f"The service sent {_kind(record)} instead of a job record; the job's state is unknown."
            )
        for key in ("id", "status"):
            # A later request could not name an id such as ".." or half a character.
            value = record.get(key)
            if not is_usable_id(value):
                raise AtaiResponseError(
                    f"The service sent a job record whose {key} is {_kind(value)}; "
                    "the job's state is unknown."
                )
        config = record.get("config")
        return cls(
            id=record["id"],
            name=_text(record.get("name")) or "",
            status=record["status"],
            config=config if isinstance(config, Mapping) else {},
            uuid=_text(record.get("uuid")),
            created_at=parse_timestamp(record.get("created_at")),
            updated_at=parse_timestamp(record.get("updated_at")),
            inference_config_path=_text(record.get("inference_config_path")),
        )


@dataclass(frozen=True)
class JobMetrics:
    """
    What a job has reported so far.

    :param last_checkpoint_step: None before the first checkpoint.
    :param records: one per checkpoint step, free-form; typical keys are ``step``, ``loss``, ``eval_loss``,
        ``learning_rate`` and ``wall_time_sec``.
    :param has_list: whether the response has the documented list of records, which may be empty.
    """

    last_checkpoint_step: int | None
    records: tuple[Mapping[str, Any], ...]
    has_list: bool = field(default=True, compare=False)

    @property
    def name_a_checkpoint(self) -> bool | None:
        """
        Whether the job has a checkpoint, None if the response has no list that would name it.

        Step 0 is the state before any training.
        """
        if (self.last_checkpoint_step or 0) > 0 or any(record.get("step") != 0 for record in self.records):
            return True
        return False if self.has_list else None

    @classmethod
    def from_response(cls, response: object) -> JobMetrics:
        """
        Read the response of the metrics call, leaving out records that are not objects.

        :raises AtaiResponseError: the response is not an object.
        """
        if not isinstance(response, Mapping):
            raise AtaiResponseError(f"The service sent {_kind(response)} instead of a job's metrics.")
        step = response.get("last_checkpoint_step")
        if isinstance(step, float) and step.is_integer():
            step = int(step)
        metrics = response.get("metrics")
        records = metrics if isinstance(metrics, list) else []
        return cls(
            last_checkpoint_step=step if isinstance(step, int) and not isinstance(step, bool) else None,
            records=tuple(record for record in records if isinstance(record, Mapping)),
            has_list=isinstance(metrics, list),
        )


class FineTuneApi:
    """The job calls. Each raises what :meth:`AtaiClient.request` raises, and what its docstring says."""

    def __init__(self, client: AtaiClient) -> None:
        self._client = client

    def with_options(
        self,
        *,
        timeout: float | tuple[float, float] | None = None,
        at_most: float | None = None,
        max_attempts: int | None = None,
    ) -> FineTuneApi:
        """Return the same calls with other options; see :meth:`AtaiClient.with_options`."""
        other = self._client.with_options(timeout=timeout, at_most=at_most, max_attempts=max_attempts)
        return FineTuneApi(other)

    def create(
        self,
        *,
        name: str,
        datasets: Sequence[Mapping[str, Any]],
        model: str | None = None,
        job_id: str | None = None,
    ) -> FineTuneJob:
        """
        Create a job. This is never repeated here: only a caller that looked for the job may repeat it.

        The id in the response is the job's, whatever id was asked for.

        :raises AtaiResponseError: the request was accepted, but the response names no job; there may be one.
        """
        request = build_request(name=name, datasets=datasets, model=model, job_id=job_id)
        response = self._client.request("POST", *_JOBS, json=request, safe_to_repeat=False)
        return FineTuneJob.from_record(response)

    def get(self, job_id: str) -> FineTuneJob:
        """
        Return a job.

        :raises AtaiNotFoundError: there is no such job.
        :raises AtaiResponseError: the response is not a job record, or that of another job.
        """
        return self._asked_for(job_id, self._client.request("GET", *_JOBS, job_id))

    def list(
        self, *, limit: int | None = None, offset: int | None = None, statuses: Sequence[str] = ()
    ) -> list[FineTuneJob]:
        """
        Return jobs of the organisation, in no documented order.

        Pages can shift while they are read, so that a job may be missing from all of them or be on two.
        Unreadable records are left out with a warning: one odd job must not hide the others.

        :param limit: the most jobs; None for all.
        :param statuses: only jobs with one of these; empty for all.
        :raises AtaiResponseError: the response is not a list, or none of its records can be read.
        """
        response = self.list_records(limit=limit, offset=offset, statuses=statuses)
        jobs = []
        unreadable: AtaiResponseError | None = None
        for record in response:
            try:
                jobs.append(FineTuneJob.from_record(record))
            except AtaiResponseError as error:
                unreadable = error
        if unreadable is not None:
            if not jobs:
                raise unreadable
            left_out = len(response) - len(jobs)
            log.warning("%d of %d listed jobs were left out: %s", left_out, len(response), unreadable)
        return jobs

    def list_records(
        self, *, limit: int | None = None, offset: int | None = None, statuses: Sequence[str] = ()
    ) -> Sequence[Any]:
        """
        Return the unparsed list, for callers that need few of many records.

        The parameters are those of :meth:`list`.

        :raises AtaiResponseError: the response is not a list.
        """
        params = {"limit": limit, "offset": offset, "statuses": [*statuses] or None}
        response = self._client.request("GET", *_JOBS, params=params)
        if not isinstance(response, list):
            raise AtaiResponseError(f"The service sent {_kind(response)} instead of a list of jobs.")
        return response

    def stop(self, job_id: str) -> FineTuneJob:
        """
        Stop a job gracefully and keep its latest checkpoint. The response usually says STOPPING.

        :raises AtaiConflictError: presumably the job has ended already (undocumented); get it to see.
        :raises AtaiResponseError: the response is not the job's record and, if it is empty, the job goes on.
        """
        return self._end(job_id, "stop")

    def cancel(self, job_id: str) -> FineTuneJob:
        """
        Cancel a job at once: nothing is finalised.

        :raises AtaiConflictError: presumably the job has ended already (undocumented); get it to see.
        :raises AtaiResponseError: the response is not the job's record and, if it is empty, the job goes on.
        """
        return self._end(job_id, "cancel")

    def metrics(self, job_id: str) -> JobMetrics:
        """Return what a job has reported so far."""
        return JobMetrics.from_response(self._client.request("GET", *_JOBS, job_id, "metrics"))

    def _end(self, job_id: str, action: str) -> FineTuneJob:
        response = self._client.request("PUT", *_JOBS, job_id, action, safe_to_repeat=True)
        if response is not None:
            return self._asked_for(job_id, response)
        # A success without the job's record, such as a 204, is undocumented and says nothing about the job.
        job = self.get(job_id)
        if not job.is_terminal and job.status != JobStatus.STOPPING:
            raise AtaiResponseError(
                f"The service answered the request to {action} job {job_id} without a record, and it is "
                f"{job.status}."
            )
        return job

    @staticmethod
    def _asked_for(job_id: str, response: object) -> FineTuneJob:
        job = FineTuneJob.from_record(response)
        # It is not documented whether the path also takes a job's uuid; if it does, the id may differ.
        if job_id not in (job.id, job.uuid):
            raise AtaiResponseError(
                f"The service was asked for job {job_id} and answered with job {job.id!r}."
            )
        return job


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"{type(value).__name__} {str(value)[:60]!r}"
