"""One waiter's memory of one job. It applies the policy, and logs what a person wants to see."""

from __future__ import annotations

import logging
import random
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_atai.api.fine_tune import JobStatus
from airflow_provider_atai.api.printable import printable
from airflow_provider_atai.errors import AtaiError, AtaiRateLimitError
from airflow_provider_atai.waiting.history import JobHistory
from airflow_provider_atai.waiting.policy import Decision, Ending, WaitLimits, WaitState, decide
from airflow_provider_atai.waiting.result import WaitResult
from airflow_provider_atai.waiting.summary import describe_record, summarise

if TYPE_CHECKING:
    from airflow_provider_atai.api.fine_tune import FineTuneJob, JobMetrics

METRICS_INTERVAL = 300
# An error may quote several entries of the service's response.
_LONGEST_REASON = 2000
_LISTED = frozenset(status.value for status in JobStatus)
# A job may have new checkpoints in these.
TRAINING_STATUSES = frozenset({"RUNNING", "FINALIZING", "STOPPING"})


class JobWatch:
    """
    Follow one job through a series of polls.

    It does no I/O, so the worker's loop and the trigger's share it.

    :param job_id: the job.
    :param limits: deadline, interval and tolerance of this wait.
    :param log: the task's or the trigger's logger.
    :param earlier: what earlier waits have seen of the job.
    :param report: is told the history each time that it grows.
    """

    def __init__(
        self,
        job_id: str,
        *,
        limits: WaitLimits,
        log: logging.Logger,
        earlier: JobHistory | None = None,
        report: Callable[[JobHistory], None] | None = None,
    ) -> None:
        self.job_id = job_id
        self.limits = limits
        self.history = JobHistory(job_id).after(earlier)
        self._log = log
        self._report = report
        self.delay = 0.0
        self._state = WaitState()
        self._job: FineTuneJob | None = None
        self._reason: str | None = None
        self._polled_at: datetime | None = None
        self._began: datetime | None = None
        self._logged: set[str] = set()

    def judge(self, seen: FineTuneJob | AtaiError, now: datetime) -> Decision:
        """Decide what to do after a poll, remember it, and log what changed."""
        self._began = self._began or now
        before = self._state
        decision = decide(seen, state=before, limits=self.limits, now=now, jitter=random.random())
        self._state = decision.state
        self.delay = decision.delay
        if isinstance(seen, AtaiError):
            self._reason = printable(seen, _LONGEST_REASON)
            self._log_error(seen, before, decision)
            # The pause that a 429 asks for is not an outage.
            if decision.state.outage_since is not None:
                self._remember(self.history.could_not_look(now))
        else:
            self._job = seen
            self._reason = None
            self._log_status(seen, before, now)
            self._remember(self.history.saw(seen, now))
        return decision

    @property
    def status(self) -> str | None:
        """The job's last known status, None before the first answer."""
        return self._state.status

    def result(self, ending: Ending, metrics: JobMetrics | None = None) -> WaitResult:
        """Return how the wait ended, with the job's summary if the last poll showed the job."""
        job = self._job if self._reason is None else None
        return WaitResult(
            ending=ending,
            job_id=self.job_id,
            status=self._state.status,
            reason=self._reason,
            summary=None if job is None else summarise(job, metrics),
            has_checkpoint=job.has_checkpoint(metrics) if job and ending is Ending.STOPPED else None,
            history=self.history.to_json(),
        )

    def metrics_due(self, now: datetime) -> bool:
        """
        Return whether to read the metrics after this poll: at most every five minutes.

        Time is cut into slots of five minutes, shifted per job so that many waiters do not ask at once. The
        first poll in a slot asks. That needs no memory; a sensor in reschedule mode has none.
        """
        previous = self._polled_at or now - timedelta(seconds=self.limits.poll_interval)
        self._polled_at = now
        return self._state.status in TRAINING_STATUSES and self._slot(previous) != self._slot(now)

    def _slot(self, moment: datetime) -> int:
        shift = zlib.crc32(self.job_id.encode()) % METRICS_INTERVAL
        return int(moment.timestamp() + shift) // METRICS_INTERVAL

    def log_metrics(self, metrics: JobMetrics) -> None:
        """Log the checkpoints that are new since the last call."""
        for position, record in enumerate(metrics.records):
            # Records are free-form: one without a step is recognised by its position.
            checkpoint = repr(record.get("step", f"record {position}"))
            if checkpoint not in self._logged:
                self._logged.add(checkpoint)
                self._log.info("Job %s: checkpoint: %s", self.job_id, describe_record(record))

    def _remember(self, history: JobHistory) -> None:
        if history == self.history:
            return
        self.history = history
        if self._report is not None:
            self._report(history)

    def _log_status(self, job: FineTuneJob, before: WaitState, now: datetime) -> None:
        if before.outage_since is not None:
            self._log.info(
                "Job %s can be read again after an outage of %s and %d failed polls.",
                self.job_id,
                _span(now - before.outage_since),
                before.failures,
            )
        if job.status == before.status:
            return
        times = [f"age of the job {_span(now - job.created_at)}"] if job.created_at else []
        if before.status is None:
            change = f"is {job.status}"
        else:
            change = f"went from {before.status} to {job.status}"
            times.append(f"waited for {_span(now - (self._began or now))}")
        self._log.info("Job %s %s%s.", self.job_id, change, f" ({', '.join(times)})" if times else "")
        if job.status not in _LISTED or job.status == JobStatus.UNKNOWN.value:
            self._log.warning(
                "Job %s has the status %s, which the API's documents do not explain. It counts as active "
                "until the deadline (%s).",
                self.job_id,
                job.status,
                self.limits.deadline or "there is none",
            )

    def _log_error(self, error: AtaiError, before: WaitState, decision: Decision) -> None:
        if decision.ending is not None:
            return
        if decision.reread_connection:
            self._log.warning(
                "The service refused the key while waiting for job %s (%s). Reading the connection again "
                "once, in case the key was rotated.",
                self.job_id,
                self._reason,
            )
        elif isinstance(error, AtaiRateLimitError):
            self._log.info("The API asks for a pause. The next poll is in %.0f s.", decision.delay)
        elif before.outage_since is None:
            self._log.warning(
                "Job %s cannot be read: %s. The job itself is not affected. Polling goes on for up to %s.",
                self.job_id,
                self._reason,
                _span(timedelta(seconds=self.limits.outage_tolerance)),
            )


def _span(duration: timedelta) -> str:
    seconds = max(0, int(duration.total_seconds()))
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
