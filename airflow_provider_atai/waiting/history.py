"""The statuses of a job, each with its time, as the XCom ``atai_statuses``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_atai.api.printable import printable

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob

STATUSES_KEY = "atai_statuses"
OUTAGE_BEGAN = "began"
OUTAGE_ENDED = "ended"

# An XCom is a row in Airflow's database, and an outage can come and go for days.
_MOST_ENTRIES = 100
_KEPT_FIRST = 20
_LONGEST_STATUS = 64

# Named tuples, since DAG files are parsed often, and a dataclass takes a millisecond to make.


class Entry(NamedTuple):
    """
    Something that was seen of a job.

    :param at: when, with its zone.
    :param status: the status that the job had from then on; None if this is about an outage.
    :param outage: ``"began"`` or ``"ended"``, None if this is a status.
    """

    at: datetime
    status: str | None = None
    outage: str | None = None


class JobHistory(NamedTuple):
    """
    What was seen of a job, oldest first.

    :param job_id: the job.
    :param entries: at most 100; the first 20 and the newest are kept.
    """

    job_id: str
    entries: tuple[Entry, ...] = ()

    @property
    def status(self) -> str | None:
        """The last status that was seen."""
        return next((entry.status for entry in reversed(self.entries) if entry.status is not None), None)

    @property
    def in_outage(self) -> bool:
        """Whether the job cannot be read at the moment."""
        return bool(self.entries) and self.entries[-1].outage == OUTAGE_BEGAN

    def saw(self, job: FineTuneJob, now: datetime) -> JobHistory:
        """
        Return the history with what a poll has shown.

        :param job: its answer. A job is REGISTERED once it is created, as the documents say, so its creation
            is the first entry. The end of a job is as old as the service says.
        :param now: when the answer came.
        """
        history = self
        if not history.entries and job.created_at is not None and job.created_at <= now:
            history = history._with(Entry(job.created_at, status="REGISTERED"))
        if history.in_outage:
            history = history._with(Entry(now, outage=OUTAGE_ENDED))
        status = _short(job.status)
        if status == history.status:
            return history
        at = now
        if job.is_terminal and job.updated_at is not None:
            at = max(history.entries[-1].at, min(job.updated_at, now)) if history.entries else now
        return history._with(Entry(at, status=status))

    def could_not_look(self, now: datetime) -> JobHistory:
        """Return the history with an outage that began at a time, unless one has begun already."""
        return self if self.in_outage else self._with(Entry(now, outage=OUTAGE_BEGAN))

    def after(self, earlier: JobHistory | None) -> JobHistory:
        """Return one history of what two have seen of the same job; that of another job counts nothing."""
        if earlier is None or earlier.job_id != self.job_id:
            return self
        merged = JobHistory(self.job_id)
        for entry in sorted(dict.fromkeys((*earlier.entries, *self.entries)), key=lambda entry: entry.at):
            is_repeated = entry.status is not None and entry.status == merged.status
            is_stray = entry.outage is not None and merged.in_outage == (entry.outage == OUTAGE_BEGAN)
            if not is_repeated and not is_stray:
                merged = merged._with(entry)
        return merged

    def to_json(self) -> dict[str, Any]:
        """Return JSON types: ``job_id``, and ``statuses`` with ``at`` and ``status`` or ``outage`` each."""
        return {"job_id": self.job_id, "statuses": [_entry_to_json(entry) for entry in self.entries]}

    @classmethod
    def from_json(cls, value: object) -> JobHistory | None:
        """Read what :meth:`to_json` has returned; None if it is anything else."""
        if not isinstance(value, Mapping) or not isinstance(value.get("job_id"), str):
            return None
        statuses = value.get("statuses")
        if not isinstance(statuses, list):
            return None
        read = (_entry_from_json(entry) for entry in statuses[:_MOST_ENTRIES])
        return cls(value["job_id"], tuple(entry for entry in read if entry is not None))

    def _with(self, entry: Entry) -> JobHistory:
        return self._replace(entries=_bounded((*self.entries, entry)))


def _short(status: str) -> str:
    return printable(status, _LONGEST_STATUS)[:_LONGEST_STATUS]


def _bounded(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    kept = tuple(entries)
    if len(kept) <= _MOST_ENTRIES:
        return kept
    return (*kept[:_KEPT_FIRST], *kept[_KEPT_FIRST - _MOST_ENTRIES :])


def _entry_to_json(entry: Entry) -> dict[str, str]:
    at = entry.at.astimezone(UTC).isoformat()
    if entry.status is not None:
        return {"status": entry.status, "at": at}
    return {"outage": entry.outage or OUTAGE_BEGAN, "at": at}


def _entry_from_json(value: object) -> Entry | None:
    if not isinstance(value, Mapping):
        return None
    status, outage = value.get("status"), value.get("outage")
    try:
        at = datetime.fromisoformat(value["at"])
        if at.utcoffset() is None:
            return None
        at = at.astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if isinstance(status, str) and status:
        return Entry(at, status=_short(status))
    return Entry(at, outage=outage) if outage in (OUTAGE_BEGAN, OUTAGE_ENDED) else None
